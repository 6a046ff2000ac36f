package group

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/segmentio/kafka-go"

	"trailhound/consumer/kafka/wire"
)

var (
	errSession = errors.New("no heartbeat was answered within the session timeout")
	errGrown   = errors.New("a topic has new partitions")
	errAvoids  = errors.New("another member should have some of the partitions")
	errEnded   = errors.New("the group member has stopped")

	// errForgotten is FENCED_INSTANCE_ID for a member id that never completed a join. A
	// coordinator that loses the group between JoinGroup and SyncGroup takes back the id
	// that it has just given out; no other process uses the instance id.
	errForgotten = errors.New("the coordinator has forgotten the member id that it gave out")
)

// Run keeps up the membership until ctx ends (nil), or until an error that no repetition
// mends: another process uses the instance id, or the broker refuses the group's settings.
// Any other failure is repeated. A dynamic member leaves the group at the end; a static one
// leaves only with Leave, so that it finds its partitions again when it is back within its
// session. A Member runs once.
func (m *Member) Run(ctx context.Context) error {
	m.init()
	err := m.run(ctx)
	if err != nil {
		m.lose()
	} else {
		m.leave(ctx)
	}
	m.update(func() { m.held, m.ended = false, errEnded })
	return err
}

func (m *Member) run(ctx context.Context) error {
	wait := newBackoff()
	for {
		err := m.join(ctx)
		if err == nil {
			wait.Reset()
			m.tries = 0
			m.tried(nil)
			err = m.hold(ctx)
		}
		if ctx.Err() != nil {
			return nil
		}
		atOnce, err := m.judge(err)
		if err != nil {
			return err
		}
		if m.tries++; atOnce && m.tries <= 3 {
			continue
		}
		if err := m.beside(ctx, wait.Sleep); err != nil && ctx.Err() == nil {
			return m.fatal(err)
		}
	}
}

// judge decides how Run goes on after the error that ended a generation or made a join
// fail: it joins again at once, or after a while, or gives up with a fatal error.
func (m *Member) judge(err error) (atOnce bool, fatal error) {
	var code kafka.Error
	switch errors.As(err, &code); {
	case errors.Is(err, errGrown), errors.Is(err, errAvoids), errors.Is(err, errForgotten), code == kafka.RebalanceInProgress, code == kafka.MemberIDRequired:
		return true, nil
	case code == kafka.UnknownMemberId:
		m.id = ""
		m.lost(err)
		return true, nil
	case code == kafka.IllegalGeneration, errors.Is(err, errSession):
		// The id is kept: while the broker still knows it, a new id beside it would make
		// the next rebalance wait for the old one's session to end.
		m.lost(err)
		return true, nil
	}
	if fatal := m.fatal(err); fatal != nil {
		return false, fatal
	}
	m.tried(err)
	return false, nil
}

func (m *Member) tried(err error) {
	if m.Tried != nil {
		m.Tried(err)
	}
}

// fatal returns the message for the user about an error that no repetition mends; nil for
// any other.
func (m *Member) fatal(err error) error {
	var code kafka.Error
	errors.As(err, &code)
	switch code {
	case kafka.FencedInstanceID:
		return fmt.Errorf("group %s: another process uses the instance id %q and has taken over its membership; "+
			"stop one of the two, or give each an instance_id of its own, then start this one again: %w", m.Group, m.Instance, err)
	case kafka.InconsistentGroupProtocol:
		return fmt.Errorf("group %s: its members cannot work together with this build, which has the group protocol %s: either they are of a release that is too far from this one "+
			"(upgrade, and go back, one release at a time: each reads what the next one writes; who was ended still counts until its session is over), or consumers of another kind: then choose another app_id: %w",
			m.Group, strings.Join(m.protocols(), " or "), err)
	case kafka.GroupIdNotFound:
		return fmt.Errorf("group %s: the group is in use by consumers of another kind; stop them or choose another app_id: %w", m.Group, err)
	case kafka.InvalidSessionTimeout:
		return fmt.Errorf("group %s: the broker refuses a session timeout of %d ms; set kafka.session_timeout between its group.min.session.timeout.ms and group.max.session.timeout.ms: %w",
			m.Group, m.sessionTimeout().Milliseconds(), err)
	case kafka.InvalidGroupId:
		return fmt.Errorf("group %q: the broker refuses this name; choose another app_id: %w", m.Group, err)
	case kafka.UnsupportedVersion:
		return fmt.Errorf("group %s: the broker is too old for group membership with instance ids; it must be Kafka 2.3 or newer: %w", m.Group, err)
	}
	return nil
}

// hold sends heartbeats and watches the topics until an error ends the generation, and
// returns that error.
func (m *Member) hold(ctx context.Context) error {
	watch := time.NewTimer(m.nextWatch())
	defer watch.Stop()
	beat := time.NewTimer(m.heartbeatInterval())
	defer beat.Stop()
	retry := newBackoff()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-watch.C:
			if err := m.watch(ctx); err != nil {
				return err
			}
			watch.Reset(m.nextWatch())
			continue
		case <-m.again:
			return errAvoids
		case <-m.wake:
		case <-beat.C:
		}
		next, err := m.heartbeat(ctx, retry)
		if err != nil {
			return err
		}
		beat.Reset(next)
	}
}

// watch looks for new partitions, with heartbeats beside it.
func (m *Member) watch(ctx context.Context) error {
	grown := false
	err := m.beside(ctx, func(ctx context.Context) error {
		grown = m.grown(ctx)
		return nil
	})
	if _, held := m.Current(); err == nil && !held {
		return errSession
	}
	if grown {
		return errGrown
	}
	return err
}

// heartbeat sends one heartbeat and returns the time until the next. A coordinator that is
// moving or out of reach is no reason to let go before the session has ended.
func (m *Member) heartbeat(ctx context.Context, retry *wire.Backoff) (time.Duration, error) {
	err := m.beat(ctx)
	if err == nil {
		retry.Reset()
		m.tried(nil)
		return m.heartbeatInterval(), nil
	}
	if !transient(err) {
		return 0, err
	}
	left := m.sessionLeft()
	if left <= 0 {
		return 0, fmt.Errorf("%w; the last error was: %w", errSession, err)
	}
	m.tried(err)
	return min(retry.Next(), left), nil
}

// beside runs fn with heartbeats of the generation at hand beside it, and drops the
// membership when a heartbeat shows that it is lost. The error is fn's, or
// FENCED_INSTANCE_ID.
func (m *Member) beside(ctx context.Context, fn func(context.Context) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var result error
	done := make(chan struct{})
	go func() {
		defer close(done)
		result = fn(ctx)
	}()
	beat := time.NewTimer(m.heartbeatInterval())
	defer beat.Stop()
	for {
		select {
		case <-done:
			return result
		case <-m.wake:
		case <-beat.C:
		}
		if err := m.keep(ctx); err != nil {
			cancel()
			<-done // the caller reads the variables that fn writes
			return err
		}
		beat.Reset(m.nextKeep())
	}
}

// nextKeep returns the time until the next heartbeat of beside.
func (m *Member) nextKeep() time.Duration {
	if _, ok := m.Current(); !ok {
		return m.heartbeatInterval()
	}
	return min(m.heartbeatInterval(), max(m.sessionLeft(), leastTimeout))
}

// keep sends a heartbeat of a generation that is about to end. The answer
// REBALANCE_IN_PROGRESS is a sign of life: the membership stands. ILLEGAL_GENERATION says
// nothing as long as a join is under way, which may just have been answered.
func (m *Member) keep(ctx context.Context) error {
	if _, ok := m.Current(); !ok {
		return nil
	}
	err := m.beat(ctx)
	switch {
	case errors.Is(err, kafka.FencedInstanceID):
		return err
	case errors.Is(err, kafka.UnknownMemberId):
		m.lost(err)
	case m.sessionLeft() <= 0:
		m.lost(errSession)
	}
	return nil
}

// beat sends one heartbeat; its answer proves the membership as of the time of sending.
func (m *Member) beat(ctx context.Context) error {
	m.mu.Lock()
	m.begun++
	m.beating = true
	select {
	case <-m.wake: // asked for before this heartbeat, which is the answer
	default:
	}
	a, number := m.current, m.begun
	m.mu.Unlock()
	sent := time.Now()
	ctx, cancel := context.WithTimeout(ctx, min(m.sessionTimeout()/3, max(m.sessionLeft(), leastTimeout)))
	defer cancel()
	err := m.Client.Heartbeat(ctx, m.Group, a.Generation, a.MemberID, m.Instance)
	if err == nil || errors.Is(err, kafka.RebalanceInProgress) {
		m.alive = sent
	}
	if err != nil {
		m.mu.Lock()
		defer m.mu.Unlock()
		m.beating = false // no update: the callers in Confirm would only ask again at once
		return err
	}
	m.update(func() { m.beating, m.confirmed = false, number })
	return nil
}

// sessionLeft returns how much of the session is left if no heartbeat succeeds.
func (m *Member) sessionLeft() time.Duration {
	return time.Until(m.alive.Add(m.sessionTimeout()))
}

// lost lets go of the assignment and logs the cause.
func (m *Member) lost(err error) {
	if m.lose() {
		m.Log.Warn().Err(err).Str("group", m.Group).Str("event", "membership_lost").Msg("the membership of the group is lost; joining again")
	}
}

// lose lets go of the assignment, if there is one.
func (m *Member) lose() bool {
	if _, ok := m.Current(); !ok {
		return false
	}
	m.update(func() { m.current, m.held, m.confirmed = Assignment{}, false, 0 })
	m.tell(Assignment{})
	return true
}

func (m *Member) tell(a Assignment) {
	if m.Assigned != nil {
		m.Assigned(a)
	}
}

// Rejoin makes a member join again, because the result of Avoid has changed.
func (m *Member) Rejoin() {
	m.init()
	select {
	case m.again <- struct{}{}:
	default: // a token is there already
	}
}

// Retire makes the end of Run leave the group, also without Leave.
func (m *Member) Retire() { m.retired.Store(true) }

// leave takes a member out of the group, so that the others need not wait for its session
// to end; a static one only with Leave or after Retire.
func (m *Member) leave(ctx context.Context) {
	if m.Instance != "" && !m.Leave && !m.retired.Load() || m.id == "" {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), m.sessionTimeout()/2)
	defer cancel()
	if err := m.Client.LeaveGroup(ctx, m.Group, m.id, m.Instance); err != nil {
		m.Log.Warn().Err(err).Str("group", m.Group).Str("event", "leave_failed").Msg("leaving the group failed; its session ends by itself")
	}
}
