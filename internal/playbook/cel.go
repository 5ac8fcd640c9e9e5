package playbook

type program struct{}
