package main

import (
	"compress/gzip"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// The bounds of the workload keep the pace of input partitions against each other from
// deciding about an answer: shards measure lateness, and how long they remember an eventID,
// against the newest event of all partitions.
const (
	// hourLasts is how long an hour of event time lasts when records are sent at the rate that the workload is for. A
	// partition may fall six minutes behind the others before they are ahead of it by more than events.duplicates_within
	// (24h), and 42 minutes for events.max_lateness; the window of access_denied ends four times a minute.
	hourLasts = 15 * time.Second
	usualRate = 400 // records per second

	principals    = 320
	roles         = 200
	redeliverable = 1000 // latest events of a partition that may come again
	oftenLate     = 10 * time.Minute
	seldomLate    = 6 * time.Hour
)

// firstTime is the event time at the start. The stream runs faster than the clock: from here it reaches the present, and
// would be too far ahead then, after 40 days.
var firstTime = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)

// workload is an endless stream of CloudTrail records with known answers. Not for concurrent use.
type workload struct {
	rng    *rand.Rand
	cells  []*cell
	pace   time.Duration // of event time, from one record to the next
	now    time.Time     // event time
	behind time.Duration // lateness of the event that is made, beyond the usual one
	packer *gzip.Writer
}

// cell is all that happens in one input partition: its principals and roles appear in no other.
type cell struct {
	partition  int32
	principals []*principal
	roles      []*role
	recent     [][]byte      // the latest events as they were sent
	behind     time.Duration // all that comes is so late
	doubled    bool          // every event comes twice in a row
}

type principal struct {
	key      string
	identity json.RawMessage
	denied   bool // a denial of ordinary time has been sent
}

type role struct {
	arn, home string // home is the address that it is used from, as a rule
}

// newWorkload returns the endless stream of a seed for an input of so many partitions.
func newWorkload(seed uint64, partitions int) *workload {
	w := &workload{rng: rand.New(rand.NewPCG(seed, 2)), now: firstTime, packer: gzip.NewWriter(nil)}
	w.setRate(usualRate)
	for p := range partitions {
		w.cells = append(w.cells, &cell{partition: int32(p)})
	}
	for i := range max(principals, partitions) {
		c := w.cells[i%partitions]
		c.principals = append(c.principals, newPrincipal(i))
	}
	for i := range max(roles, partitions) {
		c := w.cells[i%partitions]
		c.roles = append(c.roles, &role{
			arn:  fmt.Sprintf("arn:aws:iam::111122223333:role/service/role-%d", i),
			home: fmt.Sprintf("10.%d.%d.7", i/250, i%250),
		})
	}
	return w
}

// setRate says how many records will be sent per second, which decides how fast event time goes on.
func (w *workload) setRate(rate int) {
	w.pace = time.Hour / time.Duration(hourLasts.Seconds()) / time.Duration(rate)
}

// newPrincipal returns the i-th principal. Some are named by another field of userIdentity
// than most.
func newPrincipal(i int) *principal {
	p := &principal{}
	switch name := fmt.Sprintf("user-%d", i); i % 16 {
	default:
		p.key = "arn:aws:iam::111122223333:user/" + name
		p.identity = jsonf(`{"type":"IAMUser","principalId":"AIDA%d","arn":%q,"accountId":"111122223333","userName":%q}`, i, p.key, name)
	case 2, 3, 4:
		p.key = "arn:aws:sts::111122223333:assumed-role/team/" + name
		p.identity = jsonf(`{"type":"AssumedRole","arn":%q,"accountId":"111122223333","sessionContext":{"sessionIssuer":{"type":"Role","arn":"arn:aws:iam::111122223333:role/team"}}}`, p.key)
	case 5:
		p.key = "arn:aws:iam::444455556666:role/" + name
		p.identity = jsonf(`{"type":"AssumedRole","arn":null,"sessionContext":{"sessionIssuer":{"type":"Role","arn":%q}}}`, p.key)
	case 6:
		p.key = "AROA" + name
		p.identity = jsonf(`{"type":"Unknown","principalId":%q,"accountId":"111122223333"}`, p.key)
	case 7:
		p.key = name + ".amazonaws.com"
		p.identity = jsonf(`{"type":"AWSService","invokedBy":%q}`, p.key)
	case 8:
		p.key = fmt.Sprint(777_000_000_000 + i)
		p.identity = jsonf(`{"type":"AWSAccount","accountId":%q}`, p.key)
	}
	return p
}

func jsonf(format string, args ...any) json.RawMessage { return fmt.Appendf(nil, format, args...) }

// next returns the record to send next. Its answer is a function of the seed and of how often it was called.
func (w *workload) next() *kgo.Record {
	w.now = w.now.Add(w.pace)
	return w.of(w.cells[w.rng.IntN(len(w.cells))])
}

// backfill returns n records of a partition that are so old.
func (w *workload) backfill(partition, n int, old time.Duration) []*kgo.Record {
	c := w.cells[partition]
	usual := c.behind
	c.behind = old
	list := make([]*kgo.Record, n)
	for i := range list {
		list[i] = w.of(c)
	}
	c.behind = usual
	return list
}

// of returns the next record of a cell.
func (w *workload) of(c *cell) *kgo.Record {
	w.behind = c.behind
	rec := &kgo.Record{Partition: c.partition}
	switch n := w.rng.IntN(1000); {
	case n < 6:
		rec.Value = w.poison(c)
	case n < 10:
		rec.Value = w.chaff()
	default:
		what, key := w.activity(c)
		rec.Key, rec.Value = key, w.envelope(w.happenings(c, what))
	}
	if w.rng.IntN(4) == 0 {
		rec.Headers = append(rec.Headers, kgo.RecordHeader{Key: "account", Value: []byte("111122223333")})
	}
	return rec
}

// activity chooses an activity, its principal and its role: it returns a function that
// makes an event of it, and the key of its records.
func (w *workload) activity(c *cell) (event func() *made, key []byte) {
	who, what := w.somePrincipal(c), w.someRole(c)
	switch n := w.rng.IntN(1000); {
	case n < 150:
		return func() *made { return w.denial(who) }, []byte(who.key)
	case n < 290:
		return func() *made { return w.assume(what) }, []byte(what.arn)
	case n < 300:
		return func() *made { return w.deniedAssume(who, what) }, nil
	case n < 303:
		return func() *made { return w.tooFarAhead(who) }, nil
	case n < 306:
		return func() *made { return w.tooLate(who) }, nil
	case n < 308:
		return w.longKey, nil
	case n < 310:
		return func() *made { return w.longID(who) }, nil
	}
	return func() *made { return w.ordinary(who, what) }, nil
}

// some chooses one of n: the first many times as often as the last.
func (w *workload) some(n int) int {
	x := w.rng.Float64()
	return int(x * x * x * float64(n))
}

func (w *workload) somePrincipal(c *cell) *principal { return c.principals[w.some(len(c.principals))] }

func (w *workload) someRole(c *cell) *role { return c.roles[w.some(len(c.roles))] }

// happenings returns the events of one record: one, or a burst of one activity. Some were sent before.
func (w *workload) happenings(c *cell, event func() *made) [][]byte {
	n := 1
	if w.rng.IntN(12) == 0 {
		n += w.rng.IntN(11)
	}
	list := make([][]byte, n)
	for i := range list {
		if len(c.recent) > 0 && w.rng.IntN(30) == 0 {
			list[i] = c.recent[len(c.recent)-1-w.some(min(len(c.recent), redeliverable))]
			continue
		}
		list[i] = event().json()
		if c.recent = append(c.recent, list[i]); len(c.recent) > 2*redeliverable {
			c.recent = append([][]byte(nil), c.recent[redeliverable:]...)
		}
	}
	if c.doubled {
		for i := n - 1; i >= 0; i-- {
			list = slices.Insert(list, i, list[i])
		}
	}
	return list
}

// made is an event as the workload writes it.
type made struct {
	Version      string          `json:"eventVersion"`
	Identity     json.RawMessage `json:"userIdentity"`
	Time         string          `json:"eventTime,omitempty"`
	Source       string          `json:"eventSource"`
	Name         string          `json:"eventName"`
	Region       string          `json:"awsRegion"`
	IP           string          `json:"sourceIPAddress"`
	Agent        string          `json:"userAgent"`
	ErrorCode    string          `json:"errorCode,omitempty"`
	ErrorMessage string          `json:"errorMessage,omitempty"`
	Request      json.RawMessage `json:"requestParameters"`
	Response     json.RawMessage `json:"responseElements"`
	ID           string          `json:"eventID,omitempty"`
	Type         string          `json:"eventType"`
	Account      string          `json:"recipientAccountId"`
	Category     string          `json:"eventCategory"`
	Extra        string          `json:"additionalEventData,omitempty"`
}

func (m *made) json() []byte {
	b, err := json.Marshal(m)
	if err != nil {
		panic("workload: an event that is no JSON: " + err.Error())
	}
	return b
}

var (
	regions  = []string{"eu-west-1", "eu-central-1", "us-east-1", "ap-southeast-2"}
	readings = []string{"DescribeInstances", "ListBuckets", "GetObject", "GetCallerIdentity", "Decrypt", "LookupEvents"}
	padding  = strings.Repeat("arn:aws:s3:::logs-archive/prefix=2024/part-00017.snappy.parquet; ", 1000)
)

// event begins an event of now that no rule looks at.
func (w *workload) event() *made {
	return &made{
		Version: "1.11", Time: w.eventTime(), Source: "s3.amazonaws.com", Name: readings[w.rng.IntN(len(readings))],
		Identity: json.RawMessage("null"), Region: regions[w.rng.IntN(len(regions))], IP: w.anyIP(), Agent: "aws-sdk-go-v2/1.30.3 os/linux lang/go#1.22.5",
		Request: json.RawMessage("null"), Response: json.RawMessage("null"), ID: w.uuid(), Type: "AwsApiCall", Account: "111122223333", Category: "Management",
		Extra: w.extra(),
	}
}

// eventTime is the time of an event that is sent now: most come behind newer ones, a few by hours.
func (w *workload) eventTime() string {
	at := w.now.Add(-w.behind)
	switch n := w.rng.IntN(100); {
	case n < 60:
		at = at.Add(-time.Duration(w.rng.Int64N(int64(oftenLate))))
	case n < 63:
		at = at.Add(-time.Duration(w.rng.Int64N(int64(seldomLate))))
	}
	if w.rng.IntN(50) == 0 {
		return at.Truncate(time.Millisecond).Format(time.RFC3339Nano)
	}
	return at.Truncate(time.Second).Format(time.RFC3339)
}

// extra gives events the sizes of real ones: most below 1 KB, one in a hundred from 4 to 60 KB.
func (w *workload) extra() string {
	switch n := w.rng.IntN(100); {
	case n < 1:
		return padding[:4000+w.rng.IntN(54_000)]
	case n < 12:
		return padding[:w.rng.IntN(3500)]
	}
	return ""
}

func (w *workload) uuid() string {
	a, b := w.rng.Uint64(), w.rng.Uint64()
	return fmt.Sprintf("%08x-%04x-4%03x-8%03x-%012x", a>>32, a>>16&0xffff, a&0xfff, b>>48&0xfff, b&0xffff_ffff_ffff)
}

func (w *workload) anyIP() string {
	if w.rng.IntN(10) == 0 {
		return fmt.Sprintf("2001:db8::%x", w.rng.IntN(1<<16))
	}
	return fmt.Sprintf("198.51.%d.%d", w.rng.IntN(256), w.rng.IntN(256))
}

// ordinary is an event that no rule looks at, in some cases close to one that a rule does.
func (w *workload) ordinary(who *principal, what *role) *made {
	e := w.event()
	e.Identity = who.identity
	switch w.rng.IntN(20) {
	case 0:
		e.ErrorCode, e.ErrorMessage = "AccessDeniedException", "User is not authorized"
	case 1:
		e.ErrorCode = "NoSuchKey"
	case 2:
		e.Source, e.Name, e.Request = "sts.amazonaws.com", "AssumeRoleWithSAML", jsonf(`{"roleArn":%q}`, what.arn)
	case 3:
		e.Source, e.Name, e.Request = "sts.amazonaws.com", "AssumeRole", jsonf(`{"roleArn":%q}`, what.arn)
		e.IP = "" // nothing to compare
	}
	return e
}

// denial is counted by access_denied.
func (w *workload) denial(who *principal) *made {
	e := w.event()
	e.Identity, e.ErrorCode, e.ErrorMessage = who.identity, "AccessDenied", "User is not authorized to perform: s3:GetObject"
	if w.rng.IntN(5) == 0 {
		e.Source, e.Name = "sts.amazonaws.com", "AssumeRole" // as denied ones are: without parameters
	}
	if w.rng.IntN(40) == 0 {
		e.ID = "" // counted however often it comes
	}
	who.denied = true
	return e
}

// assume is looked at by assume_role_unique_ip: a use of a role, sometimes from elsewhere.
func (w *workload) assume(what *role) *made {
	e := w.event()
	e.Source, e.Name, e.IP = "sts.amazonaws.com", "AssumeRole", what.home
	e.Request = jsonf(`{"roleSessionName":"s","durationSeconds":3600,"roleArn":%q}`, what.arn)
	if w.rng.IntN(16) == 0 {
		e.IP = w.anyIP()
	}
	return e
}

// deniedAssume is for both rules.
func (w *workload) deniedAssume(who *principal, what *role) *made {
	e := w.assume(what)
	e.Identity, e.ErrorCode = who.identity, "AccessDenied"
	who.denied = true
	return e
}

func (w *workload) tooFarAhead(who *principal) *made {
	return w.withTime(who, fmt.Sprintf("2099-12-%02dT23:59:59Z", 1+w.rng.IntN(31)))
}

// tooLate is an event of the past century: its shard has certainly evaluated a newer one, of the same principal.
func (w *workload) tooLate(who *principal) *made {
	if !who.denied {
		return w.denial(who)
	}
	e := w.denial(who)
	e.Time = fmt.Sprintf("1990-01-%02dT00:00:00Z", 1+w.rng.IntN(31))
	return e
}

// longKey is a denial of a principal with a name longer than a key may be.
func (w *workload) longKey() *made {
	name := "arn:aws:iam::111122223333:user/" + padding[:2048]
	return w.denial(&principal{identity: jsonf(`{"type":"IAMUser","arn":%q}`, name)})
}

// longID is a denial with an eventID longer than evidence keeps.
func (w *workload) longID(who *principal) *made {
	e := w.denial(who)
	e.ID = w.uuid() + strings.Repeat("0", 500)
	return e
}
