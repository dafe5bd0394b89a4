# awk -v mode=MODE: prints iptables-restore's input that removes the foreign chains from what iptables-save printed, then one comment line a
# chain. Chain names are those of pkg/proxy/{iptables,ipvs} and pkg/kubelet of Kubernetes.
function kubelets(chain) { return chain ~ /^KUBE-(FIREWALL|KUBELET-CANARY|IPTABLES-HINT|MARK-DROP)$/ }
function only_ipvs(chain) { return chain ~ /^KUBE-(NODE-PORT|LOAD-BALANCER|SOURCE-RANGES-FIREWALL|IPVS-FILTER|IPVS-OUT-FILTER)$/ }
function only_iptables(table, chain) {
  if (chain ~ /^KUBE-(SVC|SVL|SEP|FW|EXT)-/) return 1
  if (chain ~ /^KUBE-(NODEPORTS|EXTERNAL-SERVICES|PROXY-CANARY)$/) return 1
  return table == "filter" && chain == "KUBE-SERVICES"
}
function foreign(table, chain) {
  if (chain !~ /^KUBE-/) return 0
  if (mode == "none") return 1
  if (kubelets(chain)) return 0
  if (mode == "iptables") return only_ipvs(chain)
  if (mode == "ipvs") return only_iptables(table, chain)
  return 1
}
# A jump to a chain that both have, but with the words of the other one.
function foreign_jump(rule) {
  if (mode == "iptables") return rule ~ /--comment "kube-proxy firewall rules"/
  if (mode == "ipvs") return rule ~ /--comment "kubernetes load balancer firewall"/
  return 0
}
function flush_table(  i, n, words, chain) {
  if (count || jumps) {
    print "*" table
    for (chain in dead) print ":" chain " - [0:0]"
    for (i = 0; i < rules; i++) print "-D " rule[i]
    for (chain in dead) { print "-X " chain; print "# chain " chain " in " table }
    print "COMMIT"
  }
  delete dead; delete rule; count = rules = jumps = 0
}
/^\*/ { table = substr($1, 2) }
/^:/ { chain = substr($1, 2); if (foreign(table, chain)) { dead[chain] = 1; count++ } }
/^-A / {
  if ($2 in dead) next
  for (i = 3; i < NF; i++) if ($i == "-j" || $i == "-g") break
  if (i < NF && $(i + 1) in dead || foreign_jump($0)) { rule[rules++] = substr($0, 4); jumps++ }
}
/^COMMIT/ { flush_table() }
