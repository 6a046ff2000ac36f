package cloudtrail

import (
	"math"
	"time"
)

// lastSecond is the last whole second that fits into nanoseconds since 1970 as
// an int64: 2262-04-11T23:47:16Z.
const lastSecond = math.MaxInt64 / int64(time.Second)

// parseTime reads an RFC 3339 time as CloudTrail writes it,
// YYYY-MM-DDTHH:MM:SS[.fraction](Z|±hh:mm), from 1970 to 2262-04-11T23:47:15Z.
// With a blank for the T it is a timestamp of SQL, as Athena writes it, which is in UTC
// where no offset follows. Digits behind the ninth of a fraction are dropped. The
// grammar is stricter than that of time.Parse, which lets hours of one digit, a comma
// and offsets of 24:60 pass.
func parseTime(s string) (time.Time, bool) {
	const layout = "2006-01-02T15:04:05"
	if len(s) < len(layout) || s[4] != '-' || s[7] != '-' || s[10] != 'T' && s[10] != ' ' || s[13] != ':' || s[16] != ':' {
		return time.Time{}, false
	}
	year := twoDigits(s, 0)*100 + twoDigits(s, 2)
	month, day := twoDigits(s, 5), twoDigits(s, 8)
	hour, minute, second := twoDigits(s, 11), twoDigits(s, 14), twoDigits(s, 17)
	if year < 0 || month < 1 || month > 12 || day < 1 || day > daysIn(month, year) ||
		hour < 0 || hour > 23 || minute < 0 || minute > 59 || second < 0 || second > 59 {
		return time.Time{}, false
	}
	nanos, n := fraction(s[len(layout):])
	var offset int
	if rest := s[len(layout)+n:]; rest != "" || s[10] == 'T' {
		var ok bool
		if offset, ok = zone(rest); !ok {
			return time.Time{}, false
		}
	}
	unix := int64(daysSince1970(year, month, day))*86400 + int64(hour*3600+minute*60+second-offset)
	if unix < 0 || unix >= lastSecond {
		return time.Time{}, false
	}
	return time.Unix(unix, nanos).UTC(), true
}

// clock reads times as parseTime does. It remembers the minute that it read last: the
// events of a stream have it in common with their neighbours.
type clock struct {
	minute [len("2006-01-02T15:04")]byte
	unix   int64 // its start
}

func (c *clock) read(s string) (time.Time, bool) {
	const layout = "2006-01-02T15:04:05Z"
	if len(s) == len(layout) && s[:len(c.minute)] == string(c.minute[:]) && s[16] == ':' && s[19] == 'Z' {
		if second := twoDigits(s, 17); second >= 0 && second <= 59 {
			return time.Unix(c.unix+int64(second), 0).UTC(), true
		}
	}
	t, ok := parseTime(s)
	if ok && len(s) == len(layout) && t.Unix() < lastSecond-60 {
		copy(c.minute[:], s)
		c.unix = t.Unix() - int64(twoDigits(s, 17))
	}
	return t, ok
}

const notDigits = -1_000_000

// twoDigits returns the number that the two bytes at s[i] stand for, or a
// number far below zero (notDigits) if they are none.
func twoDigits(s string, i int) int {
	tens, ones := s[i]-'0', s[i+1]-'0'
	if tens > 9 || ones > 9 {
		return notDigits
	}
	return int(tens)*10 + int(ones)
}

// fraction reads a fraction of a second at the front of s, if there is one, and
// returns how many bytes it takes.
func fraction(s string) (nanos int64, n int) {
	if s == "" || s[0] != '.' {
		return 0, 0
	}
	unit := int64(time.Second)
	for n = 1; n < len(s) && s[n]-'0' <= 9; n++ {
		unit /= 10
		nanos += int64(s[n]-'0') * unit
	}
	if n == 1 {
		return 0, 0 // a point without digits: the zone will not match
	}
	return nanos, n
}

// zone reads Z or ±hh:mm and returns the offset from UTC in seconds. Nothing
// may follow.
func zone(s string) (offset int, ok bool) {
	if s == "Z" {
		return 0, true
	}
	if len(s) != len("+00:00") || s[3] != ':' || s[0] != '+' && s[0] != '-' {
		return 0, false
	}
	hour, minute := twoDigits(s, 1), twoDigits(s, 4)
	if hour < 0 || hour > 23 || minute < 0 || minute > 59 {
		return 0, false
	}
	offset = hour*3600 + minute*60
	if s[0] == '-' {
		offset = -offset
	}
	return offset, true
}

func daysIn(month, year int) int {
	switch month {
	case 2:
		if year%4 == 0 && (year%100 != 0 || year%400 == 0) {
			return 29
		}
		return 28
	case 4, 6, 9, 11:
		return 30
	}
	return 31
}

// daysSince1970 counts the days of the Gregorian calendar. Years are taken to
// begin in March, so that the leap day is the last of its year.
func daysSince1970(year, month, day int) int {
	if month <= 2 {
		year--
		month += 12
	}
	return year*365 + year/4 - year/100 + year/400 + (month*153-457)/5 + day - 719469
}
