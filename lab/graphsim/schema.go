package graphsim

import "strings"

// properties lists the property names of an entity type. $select and $filter
// are checked against it, as the service checks them against its own model.
// typ is without the namespace "microsoft.graph.".
func properties(typ string) map[string]bool {
	out := map[string]bool{}
	for _, name := range strings.Fields(propertyNames(typ)) {
		out[name] = true
	}
	return out
}

// propertyNames returns the names as the CSDL of Microsoft Graph v1.0 has
// them (microsoftgraph/msgraph-metadata), separated by white space.
func propertyNames(typ string) string {
	switch typ {
	case "user":
		return `
		id deletedDateTime aboutMe accountEnabled ageGroup assignedLicenses assignedPlans authorizationInfo
		birthday businessPhones city companyName consentProvidedForMinor country createdDateTime
		creationType customSecurityAttributes department deviceEnrollmentLimit displayName employeeHireDate
		employeeId employeeLeaveDateTime employeeOrgData employeeType externalUserState
		externalUserStateChangeDateTime faxNumber givenName hireDate identities identityParentId imAddresses
		interests isManagementRestricted isResourceAccount jobTitle lastPasswordChangeDateTime
		legalAgeGroupClassification licenseAssignmentStates mail mailboxSettings mailNickname mobilePhone
		mySite officeLocation onPremisesDistinguishedName onPremisesDomainName onPremisesExtensionAttributes
		onPremisesImmutableId onPremisesLastSyncDateTime onPremisesProvisioningErrors
		onPremisesSamAccountName onPremisesSecurityIdentifier onPremisesSyncEnabled
		onPremisesUserPrincipalName otherMails passwordPolicies passwordProfile pastProjects postalCode
		preferredDataLocation preferredLanguage preferredName print provisionedPlans proxyAddresses
		responsibilities schools securityIdentifier serviceProvisioningErrors showInAddressList
		signInActivity signInSessionsValidFromDateTime skills state streetAddress surname usageLocation
		userPrincipalName userType`
	case "riskDetection":
		return `
		id activity activityDateTime additionalInfo correlationId detectedDateTime detectionTimingType
		ipAddress lastUpdatedDateTime location requestId riskDetail riskEventType riskLevel riskState source
		tokenIssuerType userDisplayName userId userPrincipalName`
	case "riskyUser":
		return `
		id isDeleted isProcessing riskDetail riskLastUpdatedDateTime riskLevel riskState userDisplayName
		userPrincipalName history`
	case "riskyUserHistoryItem":
		return `
		id isDeleted isProcessing riskDetail riskLastUpdatedDateTime riskLevel riskState userDisplayName
		userPrincipalName history activity initiatedBy userId`
	case "riskyAgent":
		return `
		id agentDisplayName blueprintId identityType isDeleted isEnabled isProcessing riskDetail riskLastModifiedDateTime riskLevel riskState`
	case "riskyServicePrincipal":
		return `
		id appId displayName isEnabled isProcessing riskDetail riskLastUpdatedDateTime riskLevel riskState
		servicePrincipalType history`
	case "riskyServicePrincipalHistoryItem":
		return `
		id appId displayName isEnabled isProcessing riskDetail riskLastUpdatedDateTime riskLevel riskState
		servicePrincipalType history activity initiatedBy`
	case "servicePrincipalRiskDetection":
		return `
		id activity activityDateTime additionalInfo appId correlationId detectedDateTime detectionTimingType
		ipAddress keyIds lastUpdatedDateTime location requestId riskDetail riskEventType riskLevel riskState
		servicePrincipalDisplayName servicePrincipalId source tokenIssuerType`
	case "signIn":
		return `
		id appDisplayName appId appliedConditionalAccessPolicies authenticationAppDeviceDetails
		clientAppUsed conditionalAccessStatus correlationId createdDateTime deviceDetail homeTenantId
		ipAddress isInteractive location resourceDisplayName resourceId resourceTenantId riskDetail
		riskEventTypes riskEventTypes_v2 riskLevelAggregated riskLevelDuringSignIn riskState
		servicePrincipalId servicePrincipalName status userAgent userDisplayName userId userPrincipalName`
	case "directoryAudit":
		return `
		id activityDateTime activityDisplayName additionalDetails category correlationId initiatedBy
		loggedByService operationType result resultReason targetResources`
	case "userRegistrationDetails":
		return `
		id isAdmin isMfaCapable isMfaRegistered isPasswordlessCapable isSsprCapable isSsprEnabled
		isSsprRegistered isSystemPreferredAuthenticationMethodEnabled lastUpdatedDateTime methodsRegistered
		systemPreferredAuthenticationMethods userDisplayName userPreferredMethodForSecondaryAuthentication
		userPrincipalName userType`
	case "security.alert":
		return `
		id actorDisplayName additionalData alertPolicyId alertWebUrl assignedTo categories category
		classification comments createdDateTime customDetails description detectionSource detectorId
		determination evidence firstActivityDateTime incidentId incidentWebUrl investigationState
		lastActivityDateTime lastUpdateDateTime mitreTechniques productName providerAlertId
		recommendedActions resolvedDateTime serviceSource severity status systemTags tenantId
		threatDisplayName threatFamilyName title`
	case "security.incident":
		return `
		id assignedTo classification comments createdDateTime customTags description determination
		displayName incidentWebUrl lastModifiedBy lastUpdateDateTime priorityScore redirectIncidentId
		resolvingComment severity status summary systemTags tenantId alerts`
	case "security.healthIssue":
		return `
		id additionalInformation createdDateTime description displayName domainNames healthIssueType
		issueTypeId lastModifiedDateTime recommendations recommendedActionCommands sensorDNSNames severity
		status`
	case "security.sensor":
		return `
		id createdDateTime deploymentStatus displayName domainName healthStatus openHealthIssuesCount
		sensorType serviceStatus settings version healthIssues`
	case "security.user":
		return `
		id accounts cloudSecurityIdentifier displayName domain isEnabled onPremisesSecurityIdentifier
		emailAddress userPrincipalName`
	case "group":
		return `
		id deletedDateTime accessType allowExternalSenders assignedLabels assignedLicenses
		autoSubscribeNewMembers classification createdDateTime description displayName expirationDateTime
		groupTypes hasMembersWithLicenseErrors hideFromAddressLists hideFromOutlookClients infoCatalogs
		isArchived isAssignableToRole isFavorite isManagementRestricted isSubscribedByMail
		licenseProcessingState mail mailEnabled mailNickname membershipRule membershipRuleProcessingState
		onPremisesDomainName onPremisesExtensionAttributes onPremisesLastSyncDateTime onPremisesNetBiosName
		onPremisesProvisioningErrors onPremisesSamAccountName onPremisesSecurityIdentifier
		onPremisesSyncEnabled organizationId preferredDataLocation preferredLanguage proxyAddresses
		renewedDateTime resourceBehaviorOptions resourceProvisioningOptions securityEnabled
		securityIdentifier serviceProvisioningErrors theme uniqueName unseenConversationsCount unseenCount
		unseenMessagesCount visibility welcomeMessageEnabled`
	case "directoryRole":
		return `
		id deletedDateTime description displayName roleTemplateId`
	case "device":
		return `
		id deletedDateTime accountEnabled alternativeSecurityIds approximateLastSignInDateTime
		complianceExpirationDateTime deviceCategory deviceId deviceMetadata deviceOwnership deviceVersion
		displayName enrollmentProfileName enrollmentType isCompliant isManaged isManagementRestricted
		isRooted managementType manufacturer mdmAppId model onPremisesLastSyncDateTime
		onPremisesSecurityIdentifier onPremisesSyncEnabled operatingSystem operatingSystemVersion
		physicalIds profileType registrationDateTime systemLabels trustType`
	case "servicePrincipal":
		return `
		id deletedDateTime accountEnabled addIns alternativeNames appDescription appDisplayName appId
		applicationTemplateId appOwnerOrganizationId appRoleAssignmentRequired appRoles createdByAppId
		customSecurityAttributes description disabledByMicrosoftStatus displayName homepage info isDisabled
		keyCredentials loginUrl logoutUrl notes notificationEmailAddresses oauth2PermissionScopes
		passwordCredentials preferredSingleSignOnMode preferredTokenSigningKeyThumbprint replyUrls
		resourceSpecificApplicationPermissions samlSingleSignOnSettings servicePrincipalNames
		servicePrincipalType signInAudience tags tokenEncryptionKeyId verifiedPublisher`
	case "application":
		return `
		id deletedDateTime addIns api appId applicationTemplateId appRoles authenticationBehaviors
		certification createdByAppId createdDateTime defaultRedirectUri description
		disabledByMicrosoftStatus displayName groupMembershipClaims identifierUris info
		isDeviceOnlyAuthSupported isDisabled isFallbackPublicClient keyCredentials logo managerApplications
		nativeAuthenticationApisEnabled notes oauth2RequirePostResponse optionalClaims
		parentalControlSettings passwordCredentials publicClient publisherDomain
		requestSignatureVerification requiredResourceAccess samlMetadataUrl serviceManagementReference
		servicePrincipalLockConfiguration signInAudience spa tags tokenEncryptionKeyId uniqueName
		verifiedPublisher web`
	case "oAuth2PermissionGrant":
		return `
		id clientId consentType principalId resourceId scope`
	case "appRoleAssignment":
		return `
		id deletedDateTime appRoleId createdDateTime principalDisplayName principalId principalType
		resourceDisplayName resourceId`
	case "organization":
		return `
		id deletedDateTime assignedPlans businessPhones city country countryLetterCode createdDateTime
		defaultUsageLocation displayName marketingNotificationEmails mobileDeviceManagementAuthority
		onPremisesLastSyncDateTime onPremisesSyncEnabled partnerTenantType postalCode preferredLanguage
		privacyProfile provisionedPlans securityComplianceNotificationMails
		securityComplianceNotificationPhones state street technicalNotificationMails tenantType
		verifiedDomains`
	case "unifiedRoleDefinition":
		return `
		id description displayName isBuiltIn isEnabled resourceScopes rolePermissions templateId version`
	case "unifiedRoleAssignment":
		return `
		id appScopeId condition directoryScopeId principalId principalOrganizationId roleDefinitionId
		principal roleDefinition`
	case "unifiedRoleAssignmentScheduleInstance":
		return `
		id appScopeId directoryScopeId principalId roleDefinitionId principal roleDefinition assignmentType
		endDateTime memberType roleAssignmentOriginId roleAssignmentScheduleId startDateTime`
	case "unifiedRoleEligibilityScheduleInstance":
		return `
		id appScopeId directoryScopeId principalId roleDefinitionId principal roleDefinition endDateTime
		memberType roleEligibilityScheduleId startDateTime`
	case "conditionalAccessPolicy":
		return `
		deletedDateTime conditions createdDateTime description displayName grantControls id modifiedDateTime
		sessionControls state templateId`
	case "namedLocation":
		return `
		deletedDateTime createdDateTime displayName id modifiedDateTime`
	case "authenticationMethod":
		return `
		id createdDateTime`
	}
	return ""
}
