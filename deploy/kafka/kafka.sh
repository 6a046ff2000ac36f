#!/usr/bin/env bash
# kafka.sh runs a real Apache Kafka (KRaft, one or more brokers) on the loopback
# interface, from the jars on Maven Central. It needs Java 17 or newer and, for
# the first start, Maven; no container and no root. It is made for tests: the
# brokers trust everybody, unless they are started with -s, and stop deletes what
# they have stored.
set -euo pipefail

usage() {
	cat <<'EOF'
usage: kafka.sh start [-n BROKERS] [-p PORT] [-d DIR] [-c KEY=VALUE]...
                      [-l NAME:PORT:ADVERTISED]... [-s]
       kafka.sh stop  [-d DIR]
       kafka.sh kill  [-d DIR] ID
       kafka.sh up    [-d DIR] ID
       kafka.sh tool  NAME [ARG]...

  start  starts BROKERS brokers (default 1), waits until each serves, and prints
         their addresses (bootstrap.servers) on stdout, and nothing else there
  stop   ends all brokers of DIR and deletes DIR
  kill   ends broker ID (1, 2, ...) with SIGKILL; what it has stored stays
  up     starts that broker again on what it has stored
  tool   runs a command-line tool of Kafka: NAME is "topics" for kafka-topics.sh,
         "consumer-groups" for kafka-consumer-groups.sh, and so on, or a Java class

  -p PORT       first port: broker i takes PORT+2(i-1) for clients and the port
                after it for its controller (default: free ports, picked anew)
  -d DIR        where configuration, logs and data go; one cluster a directory
                (default: trailhound-kafka under $TMPDIR or /tmp)
  -c KEY=VALUE  one more line for every broker's server.properties
  -l NAME:PORT:ADVERTISED
                one more listener, in plain text: broker i listens at PORT+i-1
                and tells its clients to connect to ADVERTISED+i-1, where a proxy
                can stand. Brokers go on to speak to each other through CLIENT
  -s            secured: TLS everywhere, accounts, and nothing allowed without an
                ACL but to User:admin. Needs openssl, too. Broker i takes a third
                port, PORT+3(i-1)+2, and leaves in DIR
                  bootstrap       the brokers' addresses: SASL over TLS, with
                                  SCRAM-SHA-512, SCRAM-SHA-256, PLAIN, OAUTHBEARER
                  bootstrap-mtls  their addresses for client certificates, whose
                                  CN is the user
                  ca.pem, ca.key  the authority that signs all certificates
                  client.pem, client.key  the pair of User:client
                  admin.properties, admin.password  SCRAM (both) and PLAIN account
                                  of User:admin, the former for --command-config
                Sessions end after 3 s (connections.max.reauth.ms). OAUTHBEARER takes
                unsigned tokens (alg none), whose sub is the user: for tests and nothing else

Environment: JAVA_HOME; KAFKA_HEAP, the heap of one broker (default 512m).
The jars (55 MB) are kept under ${XDG_CACHE_HOME:-~/.cache}/trailhound.
EOF
}

die() {
	printf 'kafka.sh: %s\n' "$*" >&2
	exit 1
}

misuse() {
	printf 'kafka.sh: %s\n\n' "$*" >&2
	usage >&2
	exit 2
}

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
. "$here/secure.sh"
pom=$here/pom.xml
version=$(sed -n 's:.*<kafka\.version>\(.*\)</kafka\.version>.*:\1:p' "$pom")
jars=${XDG_CACHE_HOME:-$HOME/.cache}/trailhound/kafka-$version
java=java
if [ -n "${JAVA_HOME:-}" ]; then java=$JAVA_HOME/bin/java; fi

# need_jars fills the jar cache once. The folder appears under its name only when
# it is complete, so two starts at the same time cannot see a half of it.
need_jars() {
	command -v "$java" >/dev/null || die "no $java: install Java 17 or newer, or set JAVA_HOME"
	if [ -d "$jars" ]; then return; fi
	command -v mvn >/dev/null || die "no mvn: install Maven, which fetches Kafka $version"
	echo "kafka.sh: fetching Kafka $version into $jars" >&2
	mkdir -p "$(dirname "$jars")"
	local part
	part=$(mktemp -d "$jars.XXXXXX")
	if ! mvn -q -B -f "$pom" dependency:copy-dependencies -DoutputDirectory="$part" >&2; then
		rm -rf "$part"
		die "Maven could not fetch Kafka $version: its own words are above"
	fi
	if [ -d "$jars" ]; then rm -rf "$part"; else mv "$part" "$jars"; fi
}

# run_class runs a short-lived Java program; the flags make its start quick.
run_class() {
	"$java" -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -Dorg.slf4j.simpleLogger.defaultLogLevel=error -cp "$jars/*" "$@"
}

# class_of translates the name of a kafka-NAME.sh into the class that it runs.
class_of() {
	case $1 in
	*.*) echo "$1" ;;
	acls) echo org.apache.kafka.tools.AclCommand ;;
	configs) echo kafka.admin.ConfigCommand ;;
	console-consumer) echo org.apache.kafka.tools.consumer.ConsoleConsumer ;;
	console-producer) echo org.apache.kafka.tools.ConsoleProducer ;;
	consumer-groups) echo org.apache.kafka.tools.consumer.group.ConsumerGroupCommand ;;
	delete-records) echo org.apache.kafka.tools.DeleteRecordsCommand ;;
	dump-log) echo kafka.tools.DumpLogSegments ;;
	get-offsets) echo org.apache.kafka.tools.GetOffsetShell ;;
	leader-election) echo org.apache.kafka.tools.LeaderElectionCommand ;;
	metadata-quorum) echo org.apache.kafka.tools.MetadataQuorumCommand ;;
	reassign-partitions) echo org.apache.kafka.tools.reassign.ReassignPartitionsCommand ;;
	topics) echo org.apache.kafka.tools.TopicCommand ;;
	transactions) echo org.apache.kafka.tools.TransactionsCommand ;;
	*) misuse "no tool \"$1\": give its Java class instead" ;;
	esac
}

# listening tells whether something accepts connections at a port.
listening() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

# stride is the number of ports that one broker takes.
stride() { if [ -n "$secured" ]; then echo 3; else echo 2; fi; }

# all_free tells whether every port of a cluster that starts at $1 is free.
all_free() {
	local p
	for ((p = $1; p < $1 + $(stride) * brokers; p++)); do
		if listening "$p"; then return 1; fi
	done
}

# need_free checks the ports of the listeners given with -l.
need_free() {
	local l name own advertised i
	for l in ${listeners[@]+"${listeners[@]}"}; do
		IFS=: read -r name own advertised <<<"$l"
		for ((i = 0; i < brokers; i++)); do
			if listening $((own + i)); then die "port $((own + i)) of listener $name is taken: name another first port for it with -l"; fi
		done
	done
}

# pick_port sets port to the first of as many free ports as the brokers take. It stays below 32768,
# where the kernel starts to hand out ports for outgoing connections.
pick_port() {
	local try
	for ((try = 0; try < 100; try++)); do
		port=$((20000 + RANDOM % 9000))
		if all_free "$port"; then return; fi
	done
	die "found no $(($(stride) * brokers)) free ports in a row: name the first one with -p"
}

client_port() { echo $((port + $(stride) * ($1 - 1))); }

# addresses prints the addresses of all brokers, $1 behind those for clients and
# comma-separated; voters does so for the controllers, each with its broker's number.
addresses() {
	local i list=
	for ((i = 1; i <= brokers; i++)); do list+=,127.0.0.1:$(($(client_port "$i") + $1)); done
	echo "${list#,}"
}

voters() {
	local i list=
	for ((i = 1; i <= brokers; i++)); do list+=,$i@127.0.0.1:$(($(client_port "$i") + 1)); done
	echo "${list#,}"
}

# listeners_of prints what the listeners given with -l add to a line of broker $1:
# "listeners" where it listens, "advertised" where clients find it, "protocols" how.
listeners_of() {
	local l name own advertised
	for l in ${listeners[@]+"${listeners[@]}"}; do
		IFS=: read -r name own advertised <<<"$l"
		case $2 in
		listeners) printf ',%s://127.0.0.1:%d' "$name" $((own + $1 - 1)) ;;
		advertised) printf ',%s://127.0.0.1:%d' "$name" $((advertised + $1 - 1)) ;;
		protocols) printf ',%s:PLAINTEXT' "$name" ;;
		esac
	done
}

# properties prints the server.properties of broker $1. Internal topics get few
# partitions, which makes a start quick; the cleaner runs often, so that tests of
# compacted topics meet compaction.
properties() {
	local client replicas=$((brokers < 3 ? brokers : 3)) in_sync=$((brokers < 3 ? 1 : 2))
	client=$(client_port "$1")
	cat <<EOF
node.id=$1
process.roles=broker,controller
controller.quorum.voters=$(voters)
controller.listener.names=CONTROLLER
listeners=CLIENT://127.0.0.1:$client,CONTROLLER://127.0.0.1:$((client + 1))${secured:+,MTLS://127.0.0.1:$((client + 2))}$(listeners_of "$1" listeners)
advertised.listeners=CLIENT://127.0.0.1:$client${secured:+,MTLS://127.0.0.1:$((client + 2))}$(listeners_of "$1" advertised)
log.dirs=$dir/$1/data
auto.create.topics.enable=false
default.replication.factor=$replicas
min.insync.replicas=$in_sync
offsets.topic.num.partitions=4
offsets.topic.replication.factor=$replicas
transaction.state.log.num.partitions=4
transaction.state.log.replication.factor=$replicas
transaction.state.log.min.isr=$in_sync
group.initial.rebalance.delay.ms=0
log.cleaner.backoff.ms=1000
EOF
	if [ -n "$secured" ]; then
		security "$1"
	else
		printf '%s\n' inter.broker.listener.name=CLIENT \
			"listener.security.protocol.map=CLIENT:PLAINTEXT,CONTROLLER:PLAINTEXT$(listeners_of "$1" protocols)"
	fi
	if [ "${#extra[@]}" -gt 0 ]; then printf '%s\n' "${extra[@]}"; fi
}

# broker_pid prints the process id of broker $1 if that broker runs. The command
# line is looked at too: a process id can be given to another process in time.
broker_pid() {
	local pid
	pid=$(cat "$dir/$1/pid" 2>/dev/null) || return 1
	case $(ps -o args= -p "$pid" 2>/dev/null) in
	*"kafka.Kafka $dir/$1/server.properties"*) echo "$pid" ;;
	*) return 1 ;;
	esac
}

# end_broker sends SIGKILL to broker $1 and waits until it is gone.
end_broker() {
	local pid
	while pid=$(broker_pid "$1"); do
		kill -KILL "$pid" 2>/dev/null || true
		sleep 0.1
	done
	rm -f "$dir/$1/pid"
}

launch() {
	local home=$dir/$1
	: >"$home/broker.log" # now, for await: not when the process gets that far
	nohup "$java" "-Xms${KAFKA_HEAP:-512m}" "-Xmx${KAFKA_HEAP:-512m}" -XX:+UseG1GC \
		-Dorg.slf4j.simpleLogger.defaultLogLevel=warn -Dorg.slf4j.simpleLogger.log.kafka.server=info \
		-Dorg.slf4j.simpleLogger.log.org.apache.kafka.common.network.Selector=info \
		-Dorg.slf4j.simpleLogger.showDateTime=true '-Dorg.slf4j.simpleLogger.dateTimeFormat=HH:mm:ss.SSS' \
		-cp "$jars/*" kafka.Kafka "$home/server.properties" >>"$home/broker.log" 2>&1 </dev/null &
	echo $! >"$home/pid"
}

# await returns when broker $1, launched just now, serves clients; it gives up after
# two minutes, or as soon as the process has died. A process that has just begun
# does not have the broker's command line yet.
await() {
	local log=$dir/$1/broker.log deadline=$((SECONDS + 120))
	until grep -qs 'Kafka Server started' "$log"; do
		if ! kill -0 "$(cat "$dir/$1/pid")" 2>/dev/null || [ "$SECONDS" -ge "$deadline" ]; then
			tail -n 20 "$log" >&2
			printf '\nkafka.sh: the first errors:\n' >&2
			grep -m 3 -E 'FATAL|ERROR|Exception:' "$log" | cut -c 1-400 >&2 || true
			die "broker $1 did not start: the end of $log and its first errors are above"
		fi
		sleep 0.1
	done
}

# ids prints the numbers of the brokers in the directory.
ids() {
	local f
	for f in "$dir"/*/server.properties; do
		if [ -f "$f" ]; then basename "$(dirname "$f")"; fi
	done
}

# is_ours tells whether the directory was made by start.
is_ours() { [ -f "$dir/.kafka-for-tests" ]; }

start() {
	need_jars
	if is_ours; then
		local id
		for id in $(ids); do
			if broker_pid "$id" >/dev/null; then die "broker $id of $dir runs: stop it first, or name another directory with -d"; fi
		done
		rm -rf "$dir"
	elif [ -e "$dir" ] && [ -n "$(ls -A "$dir")" ]; then
		die "$dir is not empty and not of this script: name another directory with -d"
	fi
	if [ -z "$port" ]; then
		pick_port
	elif ! all_free "$port"; then
		die "a port from $port to $((port + $(stride) * brokers - 1)) is taken: name another one with -p, or none"
	fi
	need_free
	mkdir -p "$dir"
	touch "$dir/.kafka-for-tests"
	trap 'for i in $(ids); do end_broker "$i"; done' EXIT # no broker outlives a start that failed

	local cluster i users=()
	if [ -n "$secured" ]; then
		umask 077
		secure
		for i in SCRAM-SHA-512 SCRAM-SHA-256; do users+=(--add-scram "$i=[name=admin,password=$(cat "$dir/admin.password")]"); done
	fi
	cluster=$(run_class kafka.tools.StorageTool random-uuid)
	for ((i = 1; i <= brokers; i++)); do
		mkdir "$dir/$i"
		properties "$i" >"$dir/$i/server.properties"
		run_class kafka.tools.StorageTool format -t "$cluster" -c "$dir/$i/server.properties" ${users[@]+"${users[@]}"} >"$dir/$i/format.log" 2>&1 ||
			die "broker $i cannot format its storage: see $dir/$i/format.log"
	done
	for ((i = 1; i <= brokers; i++)); do launch "$i"; done
	for ((i = 1; i <= brokers; i++)); do await "$i"; done
	trap - EXIT
	addresses 0
}

stop() {
	if ! is_ours; then
		if [ -e "$dir" ]; then die "$dir was not made by this script: nothing is stopped or deleted"; fi
		return 0
	fi
	local id
	for id in $(ids); do end_broker "$id"; done
	rm -rf "$dir"
}

# need_broker checks that broker $1 exists in the directory.
need_broker() {
	[ -n "$1" ] || misuse "which broker? Give its number"
	[ -f "$dir/$1/server.properties" ] || die "$dir has no broker $1"
}

[ $# -gt 0 ] || misuse "what to do?"
command=$1
shift
case $command in
-h | --help | help)
	usage
	exit
	;;
tool)
	[ $# -gt 0 ] || misuse "which tool?"
	class=$(class_of "$1")
	shift
	need_jars
	run_class "$class" "$@"
	exit
	;;
esac

brokers=1 port='' dir=${TMPDIR:-/tmp}/trailhound-kafka id='' extra=() listeners=() secured=''
while [ $# -gt 0 ]; do
	case $1 in
	-n | -p | -d | -c | -l) [ $# -gt 1 ] || misuse "$1 needs a value" ;;
	esac
	case $1 in
	-n) brokers=$2 && shift ;;
	-p) port=$2 && shift ;;
	-d) dir=$2 && shift ;;
	-c) extra+=("$2") && shift ;;
	-l) listeners+=("$2") && shift ;;
	-s) secured=yes ;;
	-*) misuse "no option $1" ;;
	*) id=$1 ;;
	esac
	shift
done
[[ $brokers =~ ^[1-9]$ ]] || misuse "-n $brokers: want 1 to 9 brokers"
[[ $port =~ ^([1-9][0-9]{0,4})?$ ]] || misuse "-p $port: want a port"
for l in ${listeners[@]+"${listeners[@]}"}; do
	[[ $l =~ ^[A-Z][A-Z0-9_]*:[1-9][0-9]{0,4}:[1-9][0-9]{0,4}$ ]] || misuse "-l $l: want NAME:PORT:ADVERTISED"
done
# One spelling for a directory, however it was named: broker_pid compares it.
if [ "$command" = start ]; then mkdir -p "$(dirname "$dir")"; fi
if [ -d "$(dirname "$dir")" ]; then
	parent=$(cd "$(dirname "$dir")" && pwd -P)
	dir=${parent%/}/$(basename "$dir")
fi

case $command in
start) start ;;
stop) stop ;;
kill)
	need_broker "$id"
	end_broker "$id"
	;;
up)
	need_broker "$id"
	need_jars
	if broker_pid "$id" >/dev/null; then die "broker $id of $dir runs already"; fi
	launch "$id"
	await "$id"
	;;
*) misuse "no command \"$command\"" ;;
esac
