package main

import (
	"fmt"
	"math/rand/v2"
	"strconv"
	"time"
)

// mix is the composition of the events.
type mix struct {
	Denied     float64 // share of AccessDenied, which access_denied counts
	Assume     float64 // share of AssumeRole, which assume_role_unique_ip looks at
	Principals int     // principals that act, which is also the number of keys of access_denied
	Hot        bool    // every event is a denial of one and the same principal
	Size       int     // bytes of an event, at least; 0: as events come by themselves, about 1.67 KB
	Seed       uint64
}

const (
	roles        = 500
	accounts     = 20
	firstAccount = 111_111_111_111
	rarely       = 50   // one AssumeRole in so many comes from an address of its own
	naturalSize  = 1500 // events without padding are larger
)

// check returns an error about a value of the mix that is out of range.
func (m mix) check() error {
	switch {
	case m.Denied < 0 || m.Assume < 0 || m.Denied+m.Assume > 1:
		return fmt.Errorf("--denied %g and --assume %g: want shares from 0 to 1 that are not more than 1 together", m.Denied, m.Assume)
	case m.Principals < 1:
		return fmt.Errorf("--principals %d: somebody has to act", m.Principals)
	case m.Size < 0 || m.Size > 900_000:
		return fmt.Errorf("--size %d: want 0 (as events come by themselves) to 900000 bytes", m.Size)
	}
	return nil
}

var (
	services = []string{"ec2", "s3", "sts", "iam", "kms", "logs", "monitoring", "lambda", "dynamodb", "ssm", "secretsmanager", "ecr", "sqs", "sns", "rds", "cloudformation"}
	calls    = []string{
		"DescribeInstances", "GetObject", "ListBuckets", "Decrypt", "GetSecretValue", "DescribeLogStreams", "PutLogEvents", "GetMetricData",
		"Invoke", "Query", "GetParameter", "DescribeStacks", "GetCallerIdentity", "ListRoles", "DescribeDBInstances", "BatchGetImage",
	}
	regions = []string{"us-east-1", "us-east-2", "us-west-2", "eu-west-1", "eu-central-1", "eu-north-1", "ap-southeast-2", "sa-east-1"}
	agents  = []string{
		"aws-sdk-go-v2/1.30.3 os/linux lang/go#1.22.5 md/GOOS#linux md/GOARCH#amd64 api/sts#1.30.3",
		"Boto3/1.34.140 md/Botocore#1.34.140 ua/2.0 os/linux#5.10.219-208.866.amzn2.x86_64 md/arch#x86_64 lang/python#3.11.9 md/pyimpl#CPython cfg/retry-mode#legacy Botocore/1.34.140",
		"aws-cli/2.17.9 md/awscrt#0.20.11 ua/2.0 os/macos#23.5.0 md/arch#arm64 lang/python#3.11.8 md/pyimpl#CPython cfg/retry-mode#standard md/installer#exe md/prompt#off md/command#s3.ls",
		"HashiCorp Terraform/1.9.2 (+https://www.terraform.io) terraform-provider-aws/5.58.0",
	}
)

// generator makes events one after the other, each in the buffer of the one before. They
// are a function of its mix and of the times it is given. Not for concurrent use.
type generator struct {
	mix
	rng    *rand.Rand
	b      []byte // the event under construction
	key    []byte
	second int64  // of stamp
	stamp  []byte // eventTime
}

func newGenerator(m mix) *generator {
	return &generator{mix: m, rng: rand.New(rand.NewPCG(m.Seed, 11)), second: -1}
}

// kind tells which rule looks at an event.
type kind int

const (
	ordinary kind = iota // none
	denial
	assumption
)

// event is one generated event. Its slices are valid until the next.
type event struct {
	key, value []byte // the key is that of the rule that looks at it, else the principal
	kind       kind
}

// next makes an event of a time; the mix decides its kind and its principal.
func (g *generator) next(at time.Time) event {
	who, what := g.rng.IntN(g.Principals), ordinary
	switch x := g.rng.Float64(); {
	case g.Hot:
		who, what = 0, denial
	case x < g.Denied:
		what = denial
	case x < g.Denied+g.Assume:
		what = assumption
	}
	return g.make(at, what, who)
}

// make makes an event of that kind, by the principal of that number.
func (g *generator) make(at time.Time, what kind, who int) event {
	if s := at.Unix(); s != g.second {
		g.second, g.stamp = s, at.UTC().AppendFormat(g.stamp[:0], "2006-01-02T15:04:05Z")
	}
	r := g.rng.Uint64()
	pick := func(n int) int { // from bits of r that nothing else uses
		i := int(r % uint64(n))
		r /= uint64(n)
		return i
	}
	service, call := services[pick(len(services))], calls[pick(len(calls))]
	region, agent := regions[pick(len(regions))], agents[pick(len(agents))]
	account, bucket := firstAccount+1000*pick(accounts), pick(50)
	role, elsewhere := pick(roles), pick(rarely) == 0
	if what == assumption {
		service, call = "sts", "AssumeRole"
	}
	brief := g.Size > 0 && g.Size < naturalSize // a small event has only the members that it needs
	if brief {
		agent = "Boto3/1.34.140"
	}

	g.b = append(g.b[:0], `{"eventVersion":"1.10",`...)
	g.identity(who, brief)
	g.text(`,"eventTime":"`).bytes(g.stamp).text(`","eventSource":"`).text(service).text(`.amazonaws.com","eventName":"`).text(call)
	g.text(`","awsRegion":"`).text(region).text(`","sourceIPAddress":"`)
	if what == assumption && !elsewhere {
		g.text("10.").number(role % 256).text(".").number(role / 256).text(".7")
	} else {
		g.number(11 + who%80).text(".").number(who / 80 % 256).text(".").number(pick(3)).text(".7")
	}
	g.text(`","userAgent":"`).text(agent).text(`",`)
	if what == denial {
		g.text(`"errorCode":"AccessDenied",`)
	}
	if what == denial && !brief {
		g.text(`"errorMessage":"User: `).arn(who).text(" is not authorized to perform: ").text(service).text(":").text(call)
		g.text(" on resource: arn:aws:s3:::data-").number(bucket).text(` because no identity-based policy allows the action",`)
	}
	if what == assumption {
		g.assumption(account, role, brief)
	} else if brief {
		g.text(`"requestParameters":{"bucketName":"data-`).number(bucket).text(`"},"responseElements":null,`)
	} else {
		g.text(`"requestParameters":{"bucketName":"data-`).number(bucket).text(`","key":"path/to/object-`).hex(g.rng.Uint64(), 8)
		g.text(`.parquet","Host":"data-`).number(bucket).text(`.s3.amazonaws.com","x-amz-acl":"private"},"responseElements":null,`)
	}
	if !brief {
		g.text(`"additionalEventData":{"SignatureVersion":"SigV4","CipherSuite":"TLS_AES_128_GCM_SHA256","bytesTransferredIn":0,"AuthenticationMethod":"AuthHeader","x-amz-id-2":"`)
		g.hex(g.rng.Uint64(), 16).text(`","bytesTransferredOut":`).number(pick(100_000)).text(`},"requestID":"`).uuid().text(`",`)
		g.text(`"readOnly":true,"resources":[{"accountId":"`).number(account).text(`","type":"AWS::S3::Bucket","ARN":"arn:aws:s3:::data-`).number(bucket).text(`"}],`)
		g.text(`"eventCategory":"Management","tlsDetails":{"tlsVersion":"TLSv1.3","cipherSuite":"TLS_AES_128_GCM_SHA256","clientProvidedHostHeader":"`)
		g.text(service).text(`.amazonaws.com"},`)
	}
	g.text(`"eventType":"AwsApiCall","managementEvent":true,"recipientAccountId":"`).number(account).text(`","eventID":"`).uuid().text(`"`)
	g.pad()
	g.text(`}`)
	e := event{value: g.b, kind: what}
	e.key = g.keyOf(what, who, account, role)
	return e
}

func (g *generator) identity(who int, brief bool) {
	account, role := firstAccount+1000*(who%accounts), who%roles
	g.text(`"userIdentity":{"type":"AssumedRole","arn":"`).arn(who).text(`","accountId":"`).number(account).text(`"`)
	if !brief {
		g.text(`,"principalId":"AROA`).hex(uint64(who), 16).text(`:i-`).hex(uint64(who), 12)
		g.text(`","accessKeyId":"ASIA`).hex(g.rng.Uint64(), 16).text(`","sessionContext":{"sessionIssuer":{"type":"Role","principalId":"AROA`).hex(uint64(role), 16)
		g.text(`","arn":"arn:aws:iam::`).number(account).text(`:role/app-role-`).number(role).text(`","accountId":"`).number(account)
		g.text(`","userName":"app-role-`).number(role)
		g.text(`"},"attributes":{"creationDate":"2026-03-01T00:00:00Z","mfaAuthenticated":"false"},"ec2RoleDelivery":"2.0"}`)
	}
	g.text(`}`)
}

func (g *generator) assumption(account, role int, brief bool) {
	g.text(`"requestParameters":{"roleArn":"arn:aws:iam::`).number(account).text(`:role/app-role-`).number(role)
	g.text(`","roleSessionName":"session-`).hex(g.rng.Uint64(), 5).text(`","durationSeconds":3600},`)
	if brief {
		g.text(`"responseElements":null,`)
		return
	}
	g.text(`"responseElements":{"credentials":{"accessKeyId":"ASIA`).hex(g.rng.Uint64(), 16).text(`","sessionToken":"`)
	for range 4 {
		g.hex(g.rng.Uint64(), 16)
	}
	g.text(`","expiration":"Mar 1, 2026, 1:00:00 PM"},"assumedRoleUser":{"assumedRoleId":"AROA`).hex(uint64(role), 16)
	g.text(`:session","arn":"arn:aws:sts::`).number(account).text(`:assumed-role/app-role-`).number(role).text(`/session"}},`)
}

// pad fills the event up to g.Size, with a list of objects as in the answers of list calls.
func (g *generator) pad() {
	const behind = 4 // bytes that close the list and the event
	if len(g.b)+behind >= g.Size {
		return
	}
	g.text(`,"serviceEventDetails":{"items":[`)
	for first := true; first || len(g.b)+behind < g.Size; first = false {
		if !first {
			g.text(`,`)
		}
		g.text(`{"instanceId":"i-`).hex(g.rng.Uint64(), 16).text(`","state":"running","tags":["team-a","prod"]}`)
	}
	g.text(`]}`)
}

// keyOf is the key of the record: with it, all events of a rule's key are in one partition, in the order of their times.
func (g *generator) keyOf(what kind, who, account, role int) []byte {
	event := g.b
	g.b = g.key[:0]
	if what == assumption {
		g.text(`arn:aws:iam::`).number(account).text(`:role/app-role-`).number(role)
	} else {
		g.arn(who)
	}
	g.key, g.b = g.b, event
	return g.key
}

// The functions below append to the event.

func (g *generator) text(s string) *generator {
	g.b = append(g.b, s...)
	return g
}

func (g *generator) bytes(s []byte) *generator {
	g.b = append(g.b, s...)
	return g
}

func (g *generator) number(n int) *generator {
	g.b = strconv.AppendInt(g.b, int64(n), 10)
	return g
}

// hex appends the lowest so many hexadecimal digits of n.
func (g *generator) hex(n uint64, digits int) *generator {
	for shift := 4 * (digits - 1); shift >= 0; shift -= 4 {
		g.b = append(g.b, "0123456789abcdef"[n>>shift&15])
	}
	return g
}

func (g *generator) arn(who int) *generator {
	return g.text("arn:aws:sts::").number(firstAccount+1000*(who%accounts)).text(":assumed-role/app-role-").number(who%roles).text("/i-").hex(uint64(who), 12)
}

func (g *generator) uuid() *generator {
	a, b := g.rng.Uint64(), g.rng.Uint64()
	g.hex(a>>32, 8).text("-").hex(a>>16, 4).text("-4").hex(a, 3).text("-8").hex(b>>48, 3).text("-")
	return g.hex(b, 12)
}
