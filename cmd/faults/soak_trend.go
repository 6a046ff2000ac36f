package main

import (
	"fmt"
	"math"
	"text/tabwriter"
)

// trend is the least-squares line through samples.
type trend struct {
	mean          float64
	slope, spread float64 // an hour, and its standard error
	hours         float64 // that the longest process, or the disk, was watched
}

// trendOf is the trend of a figure. Each process has a level of its own, but the disk has
// one: it outlasts processes.
func trendOf(samples []sample, figure int) (t trend) {
	type sums struct{ n, x, y, first float64 }
	level := make(map[int]sums)
	key := func(s sample) int {
		if figure == disk {
			return 0
		}
		return s.run
	}
	total := 0.0
	for _, s := range samples {
		l := level[key(s)]
		if l.n == 0 {
			l.first = s.at.Hours()
		}
		level[key(s)] = sums{l.n + 1, l.x + s.at.Hours(), l.y + s.figures[figure], l.first}
		total += s.figures[figure]
		t.hours = max(t.hours, s.at.Hours()-l.first)
	}
	var xx, xy, yy float64
	for _, s := range samples {
		l := level[key(s)]
		x, y := s.at.Hours()-l.x/l.n, s.figures[figure]-l.y/l.n
		xx, xy, yy = xx+x*x, xy+x*y, yy+y*y
	}
	n := float64(len(samples))
	t.mean = total / n
	if free := n - float64(len(level)) - 1; xx > 0 && free > 0 {
		t.slope = xy / xx
		t.spread = math.Sqrt(max(0, yy-t.slope*xy) / free / xx)
	}
	return t
}

// grows tells whether the trend is beyond doubt, steeper than so many percent an hour, and has risen by more than that.
func (t trend) grows(percent, rise float64) bool {
	sure := t.slope - 3*t.spread
	return sure > t.mean*percent/100 && sure*t.hours > rise
}

const rule = `The slope is that of the least-squares line through the samples of the second half, without the first %s of each process.
A figure grows if its slope, less three standard errors, is more than %g %% of its mean an hour and makes more of a rise,
over the time that the longest process was watched, than is allowed. Else it is called flat.
`

// judge prints the trends of the samples, and tells whether every figure is flat.
func (k *soaking) judge() (flat bool, err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	flat = true
	w := tabwriter.NewWriter(k.stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "\tfigure\tstart\tmiddle\tend\tmax\tslope an hour\trise\tallowed\t")
	for i := 1; i <= k.instances; i++ {
		var all, late []sample
		for _, s := range k.samples {
			if s.instance == i && s.age >= k.o.warmUp {
				all = append(all, s)
				if s.at >= k.duration/2 {
					late = append(late, s)
				}
			}
		}
		if len(late) < 10 {
			return false, fmt.Errorf("only %d samples of t%d are to be judged; make the run longer", len(late), i)
		}
		for figure, info := range figureInfo {
			t := trendOf(late, figure)
			verdict := "flat"
			if t.grows(k.o.growth, info.rise) {
				verdict, flat = "GROWS", false
			}
			most := 0.0
			for _, s := range all {
				most = max(most, s.figures[figure])
			}
			tenth := max(1, len(all)/10)
			fmt.Fprintf(w, "t%d\t%s\t%.1f\t%.1f\t%.1f\t%.1f\t%+.1f ± %.1f\t%+.1f\t%g\t%s\n", i, info.name, trendOf(all[:tenth], figure).mean,
				trendOf(all[len(all)/2-tenth/2:][:tenth], figure).mean, trendOf(all[len(all)-tenth:], figure).mean,
				most, t.slope, t.spread, t.slope*t.hours, info.rise, verdict)
		}
	}
	err = w.Flush()
	if err == nil {
		_, err = fmt.Fprintf(k.stdout, rule+"Restarts %d; at most %d records were fed and not yet committed.\n", k.o.warmUp, k.o.growth, k.restarts, k.backlog)
	}
	return flat, err
}
