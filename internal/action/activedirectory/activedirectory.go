// Package activedirectory changes accounts in Active Directory over LDAP.
package activedirectory
