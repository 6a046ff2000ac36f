# What kafka.sh does for -s: certificates, accounts and ACLs. It is read by kafka.sh, whose
# functions and variables it uses.
# shellcheck shell=bash disable=SC2154

# security prints the lines of a secured broker $1. Brokers and controllers know each
# other by their certificate, which is User:broker; so nobody is anonymous.
security() {
	local jaas=org.apache.kafka.common.security password
	password=$(cat "$dir/admin.password")
	cat <<EOF
inter.broker.listener.name=MTLS
listener.security.protocol.map=CLIENT:SASL_SSL,CONTROLLER:SSL,MTLS:SSL$(listeners_of "$1" protocols)
ssl.keystore.type=PEM
ssl.keystore.location=$dir/broker.pem
ssl.truststore.type=PEM
ssl.truststore.location=$dir/ca.pem
listener.name.mtls.ssl.client.auth=required
listener.name.controller.ssl.client.auth=required
ssl.principal.mapping.rules=RULE:^CN=([^,]+).*\$/\$1/,DEFAULT
listener.name.client.sasl.enabled.mechanisms=SCRAM-SHA-512,SCRAM-SHA-256,PLAIN,OAUTHBEARER
listener.name.client.scram-sha-512.sasl.jaas.config=$jaas.scram.ScramLoginModule required;
listener.name.client.scram-sha-256.sasl.jaas.config=$jaas.scram.ScramLoginModule required;
listener.name.client.plain.sasl.jaas.config=$jaas.plain.PlainLoginModule required user_admin="$password";
listener.name.client.oauthbearer.sasl.jaas.config=$jaas.oauthbearer.OAuthBearerLoginModule required;
authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer
allow.everyone.if.no.acl.found=false
connections.max.reauth.ms=3000
super.users=User:admin;User:broker
EOF
}

# certify makes the pair $1.pem and $1.key of User:$1, signed by the authority.
certify() {
	(
		cd "$dir"
		openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj "/CN=$1" -keyout "$1.key" -out "$1.csr"
		printf '%s\n' 'subjectAltName=IP:127.0.0.1,DNS:localhost' 'extendedKeyUsage=serverAuth,clientAuth' >"$1.ext"
		openssl x509 -req -in "$1.csr" -CA ca.pem -CAkey ca.key -CAcreateserial -days 30 -extfile "$1.ext" -out "$1.pem"
		rm "$1.csr" "$1.ext"
	) >"$dir/openssl.log" 2>&1 || die "openssl made no certificate for $1: see $dir/openssl.log"
}

# secure makes what a secured cluster needs before its first start.
secure() {
	command -v openssl >/dev/null || die "no openssl: -s makes its certificates with it"
	openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 30 -subj '/CN=kafka-for-tests' \
		-keyout "$dir/ca.key" -out "$dir/ca.pem" >"$dir/openssl.log" 2>&1 || die "openssl made no authority: see $dir/openssl.log"
	certify broker
	certify client
	cat "$dir/broker.key" >>"$dir/broker.pem"
	openssl rand -hex 16 >"$dir/admin.password"
	cat >"$dir/admin.properties" <<EOF
security.protocol=SASL_SSL
sasl.mechanism=SCRAM-SHA-512
sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required username="admin" password="$(cat "$dir/admin.password")";
ssl.truststore.type=PEM
ssl.truststore.location=$dir/ca.pem
EOF
	addresses 0 >"$dir/bootstrap"
	addresses 2 >"$dir/bootstrap-mtls"
}
