# For people at a node's shell; kubectl works on the master.
[ -z "$PS1" ] && return
export KUBECONFIG=/etc/kubernetes/admin.conf
alias k=kubectl ll='ls -l'
