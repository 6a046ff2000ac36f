package rules

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"trailhound/config/duration"
	"trailhound/state"
)

// AccessDeniedID is the rule ID of [AccessDenied].
const AccessDeniedID = "access_denied"

// AccessDenied alerts when one principal is denied Threshold times within Window. A fixed
// window starts with the first denial that is counted, and anew after an alert; a burst
// across its end may escape it. A sliding window is any interval of its length, so that no
// burst escapes.
type AccessDenied struct {
	ErrorCodes   []string      `param:"error_codes" help:"error codes that are counted"`
	DeniedFamily bool          `param:"denied_family" help:"count the other error codes by which AWS services deny access too"`
	Threshold    int64         `param:"threshold,alert" help:"denials within the window that make an alert"`
	Window       time.Duration `param:"window,alert" help:"length of the window, in event time"`
	WindowKind   string        `param:"window_kind" one:"fixed sliding" help:"fixed (from the first denial that is counted) or sliding (any interval of the window's length)"`
	Principal    string        `param:"principal" one:"session role user" help:"name of the caller to count by: session (its ARN), role (without the name of the session) or user (the person behind it, if known)"`
}

// The names of a caller by which denials are counted.
const (
	bySession = "session" // Event.Principal; so does ""
	byRole    = "role"    // Event.PrincipalRole
	byUser    = "user"    // Event.PrincipalUser
)

// The kinds of window.
const (
	fixedWindow   = "fixed" // so is ""
	slidingWindow = "sliding"
)

// deniedFamily are the codes that services use beside AccessDenied. EC2 has its
// own: https://docs.aws.amazon.com/AWSEC2/latest/APIReference/errors-overview.html;
// VpceAccessDenied is a denial by the policy of a VPC endpoint.
var deniedFamily = []string{
	"AccessDenied",
	"AccessDeniedException",
	"Client.UnauthorizedOperation",
	"UnauthorizedOperation",
	"UnauthorizedException",
	"VpceAccessDenied",
}

// NewAccessDenied returns the rule with its defaults: ten AccessDenied within
// an hour.
func NewAccessDenied() *AccessDenied {
	return &AccessDenied{ErrorCodes: []string{"AccessDenied"}, Threshold: 10, Window: time.Hour, WindowKind: fixedWindow, Principal: bySession}
}

// Info implements [Rule].
func (r *AccessDenied) Info() Info {
	return Info{
		ID:    AccessDeniedID,
		Title: "Repeated denials of one principal",
		Description: "One principal was denied access again and again in a short time, as when somebody tries out what stolen credentials can do. " +
			"A fixed window starts with the first denial that is counted, and anew after each alert; a sliding one is any interval of its length.",
		GroupedBy:  "principal: the name of the caller that the parameter principal picks",
		Severity:   SeverityMedium,
		Techniques: []string{"T1580", "T1087"},
	}
}

// Validate says which parameter is wrong.
func (r *AccessDenied) Validate() error {
	switch {
	case r.Threshold < 1:
		return fmt.Errorf("threshold is %d; it must be at least 1", r.Threshold)
	case r.Window <= 0:
		return fmt.Errorf("window is %s; it must be longer than 0, such as 1h", duration.Format(r.Window))
	case len(r.ErrorCodes) == 0 && !r.DeniedFamily:
		return errors.New("error_codes is empty; it must name at least one, such as AccessDenied, unless denied_family is true")
	case slices.Contains(r.ErrorCodes, ""):
		return errors.New(`error_codes contains ""; events without an error carry no code, and cannot be counted as denials`)
	case r.WindowKind != "" && r.WindowKind != fixedWindow && r.WindowKind != slidingWindow:
		return fmt.Errorf("window_kind is %q; it must be fixed or sliding", r.WindowKind)
	case r.Principal != "" && r.Principal != bySession && r.Principal != byRole && r.Principal != byUser:
		return fmt.Errorf("principal is %q; it must be session, role or user", r.Principal)
	}
	return nil
}

// ValidateLimits refuses a sliding window in a timeline without room for the threshold.
// Almost a threshold's worth of entries may lie on either side of an event: with a limit
// below twice the threshold some of those might be dropped, and the rule never fire.
func (r *AccessDenied) ValidateLimits(l Limits) error {
	most := l.setMembers()
	if r.WindowKind != slidingWindow || r.Threshold <= most/2 {
		return nil
	}
	return fmt.Errorf("threshold is %d and limits.max_set_members %d; with window_kind sliding, which keeps each denial, limits.max_set_members must be at least twice the threshold: raise it, lower the threshold, or choose window_kind fixed, which only counts",
		r.Threshold, most)
}

// Key implements [Rule]: the denied principal.
func (r *AccessDenied) Key(e *Event) string {
	if !r.denied(e) {
		return ""
	}
	return r.principal(e)
}

// Unkeyed reports a denial in an event that names no principal.
func (r *AccessDenied) Unkeyed(e *Event) bool {
	return r.denied(e) && r.principal(e) == ""
}

func (r *AccessDenied) principal(e *Event) string {
	switch r.Principal {
	case byRole:
		return e.PrincipalRole()
	case byUser:
		return e.PrincipalUser()
	}
	return e.Principal()
}

// Evaluate implements [Rule].
func (r *AccessDenied) Evaluate(e *Event, s *state.Scope) *Finding {
	if r.WindowKind == slidingWindow {
		return r.evaluateSliding(e, s)
	}
	n := r.count(s, 1)
	if n < r.Threshold {
		return nil
	}
	start, _ := s.Window("denied")
	span := s.Span("denied")
	s.ResetCounter("denied")
	return r.finding(e, n, start, span)
}

// count adds n denials to the fixed window of the scope's event, and returns their number.
func (r *AccessDenied) count(s *state.Scope, n int64) int64 {
	total := s.IncrementCounterBy("denied", n)
	if total == n {
		s.SetKeyTTL("denied", r.Window)
	}
	return total
}

// observe adds the scope's event to the timeline, and returns the denials around it.
func (r *AccessDenied) observe(s *state.Scope) []state.Entry {
	s.Observe("denials", "")
	return s.Within("denials", r.Window)
}

// evaluateSliding looks for an interval of the window's length, both ends included, that
// contains the event and enough denials. These are consumed, the event among them, so that
// no interval of the remaining denials holds enough.
func (r *AccessDenied) evaluateSliding(e *Event, s *state.Scope) *Finding {
	burst := densest(r.observe(s), s.Now(), r.Window)
	n := int64(len(burst))
	if n < r.Threshold {
		return nil
	}
	s.Consume("denials", burst)
	start := burst[0].Time
	return r.finding(e, n, start, burst[n-1].Time.Sub(start))
}

// densest gives the entries of the interval of length d that contains the instant at and
// most entries; of several, the earliest. The entries are in the order of their times.
func densest(entries []state.Entry, at time.Time, d time.Duration) (most []state.Entry) {
	end := 0
	for i := range entries {
		from := entries[i].Time
		if from.After(at) {
			break
		}
		if at.Sub(from) > d {
			continue
		}
		for end < len(entries) && entries[end].Time.Sub(from) <= d {
			end++
		}
		if end-i > len(most) {
			most = entries[i:end]
		}
	}
	return most
}

func (r *AccessDenied) finding(e *Event, n int64, start time.Time, span time.Duration) *Finding {
	return &Finding{
		Title:   fmt.Sprintf("%s was denied %s", Clip(r.principal(e)), times(n, span)),
		Context: Context{{"count", n}, {"window_start", start}},
	}
}

// Resume counts the denials that are not evaluated again. The alert gives the time of each
// one that it names; the others are taken to lie at the start of the window.
func (r *AccessDenied) Resume(p *Past, at func(state.Ref) *state.Scope) error {
	older := p.Unnamed + int64(p.From)
	if older <= 0 {
		return nil
	}
	sliding, kept := r.WindowKind == slidingWindow, "count"
	if sliding {
		kept = "timeline"
	}
	if p.Partial = p.Unnamed > 0; p.Partial {
		var context struct {
			Start time.Time `json:"window_start"`
		}
		err := json.Unmarshal(p.Context, &context)
		switch most := p.Limits.setMembers(); {
		case err != nil || context.Start.IsZero():
			return errors.New("its context has no window_start")
		case !sliding:
			r.count(at(state.Ref{Time: context.Start}), p.Unnamed)
		case p.Unnamed > most:
			return fmt.Errorf("its evidence is %d events, and a timeline has at most %d (limits.max_set_members)", p.Total, most)
		default:
			for i := range p.Unnamed { // an event without an id is known by its place
				r.observe(at(state.Ref{Time: context.Start, Source: state.Source{Offset: i}}))
			}
		}
	}
	for _, e := range p.Events[:p.From] {
		if s := at(e.Ref); sliding {
			r.observe(s)
		} else {
			r.count(s, 1)
		}
	}
	p.Note("older denials that are not played: %d; the %s begins with them, as the alert names them", older, kept)
	return nil
}

func (r *AccessDenied) denied(e *Event) bool {
	return slices.Contains(r.ErrorCodes, e.ErrorCode) || r.DeniedFamily && slices.Contains(deniedFamily, e.ErrorCode)
}

func times(n int64, span time.Duration) string {
	if n == 1 {
		return "once"
	}
	return fmt.Sprintf("%d times in %s", n, duration.Format(span))
}
