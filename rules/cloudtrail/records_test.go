package cloudtrail

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"trailhound/rules/cloudtrail/internal/jsonscan"
)

// split returns the records of a file.
func split(tb testing.TB, s *Splitter) []string {
	tb.Helper()
	var records []string
	for {
		record, err := s.Next()
		if err == io.EOF {
			return records
		}
		if err != nil {
			tb.Fatalf("Next() = %v after %q", err, records)
		}
		records = append(records, string(record))
	}
}

func TestSplitter(t *testing.T) {
	packed := base64ed(zipped(bare("a")))
	for _, c := range []struct {
		name, file string
		want       []string
	}{
		{"nothing", "", nil},
		{"blank", " \n\n\t\r\n", nil},
		{"lines", "{\"a\":1}\n{\"a\":2}\n", []string{`{"a":1}`, `{"a":2}`}},
		{"lines of Windows, blank ones among them, the last not ended", "\uFEFF{\"a\":1}\r\n\r\n  {\"a\":2}", []string{`{"a":1}`, `{"a":2}`}},
		{"without a space", `{"a":1}{"a":2}[3]"4"true`, []string{`{"a":1}`, `{"a":2}`, `3`, `"4"`, `true`}},
		{"numbers", "1 2\n-3.5e7", []string{"1", "2", "-3.5e7"}},
		{"a document over lines", "{\"Records\": [\n{},\n{ \n}\n]}\n", []string{"{}", "{ \n}"}},
		{"junk line", "{\"a\":1}\njunk  \n{\"a\":2}", []string{`{"a":1}`, "j", `{"a":2}`}},
		{"rest of a line", "{\"a\":1} junk {\"a\":3}\n{\"a\":2}", []string{`{"a":1}`, `j`, `{"a":2}`}},
		{"line cut off", "{\"a\":\n{\"a\":2}\n{\"a\":3}", []string{`{"a":`, `{"a":2}`, `{"a":3}`}},
		{"end cut off", "{\"a\":1}\n{\"a\":[\n{\"a\":2}", []string{`{"a":1}`, `{"a":[`, `{"a":2}`}},
		{"base64", packed + "\n{\"a\":1}\n" + packed, []string{packed, `{"a":1}`, packed}},
		{"nearly base64", "H4\nH4s", []string{"H", "H"}},
		{"too deep", repeat("[", jsonscan.MaxDepth+2) + "\n1", []string{repeat("[", jsonscan.MaxDepth+1), "1"}},
		{"lists", "[1,2][]{\"Records\":[3],\"x\":[4],\"Records\":[5,6]} {\"x\":0,\"Records\":[7]}", []string{"1", "2", "[]", "3", "5", "6", `{"x":0,"Records":[7]}`}},
		{"list cut off", "{\"Records\":[1,2", []string{"1", "2", "["}},
		{"list cut off in an element", "{\"Records\":[1,{\"a\":", []string{"1", `{"a":`}},
		{"list cut off, then another", "{\"Records\":[1,2\n{\"Records\":[3]}", []string{"1", "2", "{", "3"}},
		{"junk in a list", "{\"Records\":[1,2;3]}\n4", []string{"1", "2", ";", "4"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			readers := map[string]io.Reader{
				"at once":        strings.NewReader(c.file),
				"byte by byte":   iotest.OneByteReader(strings.NewReader(c.file)),
				"end with data":  iotest.DataErrReader(strings.NewReader(c.file)),
				"half at a time": iotest.HalfReader(strings.NewReader(c.file)),
			}
			for name, r := range readers {
				if got := split(t, &Splitter{Reader: r}); !slices.Equal(got, c.want) {
					t.Errorf("records of %.200q, read %s = %.200q; want %.200q", c.file, name, got, c.want)
				}
			}
		})
	}
}

// TestSplitterAcrossBuffers puts the ends of reads everywhere in a value.
func TestSplitterAcrossBuffers(t *testing.T) {
	var want []string
	for i := range 2000 {
		want = append(want, fmt.Sprintf(`{"n":%d,"pad":"%s"}`, i, repeat("é\\\"", i)))
	}
	got := split(t, &Splitter{Reader: strings.NewReader(strings.Join(want, "\n"))})
	if !slices.Equal(got, want) {
		t.Errorf("%d records of %d bytes came back different, %d records", len(want), len(strings.Join(want, "\n")), len(got))
	}
}

// A value that is too large is passed over, at any end.
func TestSplitterLimit(t *testing.T) {
	const limit = 1000
	long := `"` + repeat("a", limit-1) + `"`
	for _, c := range []struct {
		name, file string
		want       []string
	}{
		{"right at the limit", `"` + repeat("a", limit-2) + `"` + "\n1", []string{"1000", "1"}},
		{"one over it", "1\n" + long + "2\n3", []string{"1", "2!", "2", "3"}},
		{"a list over it", "1\n2\n" + `{"Records":[` + repeat("{},", limit) + `{}]}3`, append(append([]string{"1", "2"}, slices.Repeat([]string{"2"}, limit+1)...), "3")},
		{"an element over it", `{"Records":[1,{"a":[` + long + `,"]}\"",{}]},2,` + long + `],"x":` + long + `,` + long + `:3,"y":4}5`, []string{"1", "14!", "2", "1036!", "2043!", "3045!", "5"}},
		{"spaces over it", "[1" + repeat(" ", 3*limit) + ",2]", []string{"1", "2"}},
		{"spaces in a value over it", "[1,[" + repeat(" ", 3*limit) + "],2]", []string{"1", "3!", "2"}},
		{"a number over it", "[" + repeat("1", 3*limit) + ",2]", []string{"1!", "2"}},
		{"cut off beyond it", "1[" + long[:limit-1] + repeat("x", limit), []string{"1", "2!"}},
		{"a line that ends in a string", `1{"a":"` + repeat("x", limit) + "\n2", []string{"1", "1!", "2"}},
		{"line of junk over it", "1\nx" + repeat("a", limit) + "\n2", []string{"1", "x", "2"}},
		{"junk beyond it", `{"a":"` + repeat("a", limit) + "\\x\"}2\n3", []string{"0!", "2", "3"}},
		{"base64 over it", packedMagic + repeat("a", limit) + "\n2", []string{"0!", "2"}},
		{"much junk in short lines", repeat("x\n", limit), slices.Repeat([]string{"x"}, limit)},
	} {
		for _, r := range []io.Reader{strings.NewReader(c.file), iotest.OneByteReader(strings.NewReader(c.file))} {
			s := Splitter{Reader: r, MaxRecord: limit}
			var got []string
			for {
				record, err := s.Next()
				if err == io.EOF {
					break
				}
				tooLarge := new(RecordTooLargeError)
				switch {
				case errors.As(err, &tooLarge):
					if got = append(got, fmt.Sprint(tooLarge.Offset, "!")); tooLarge.Limit != limit {
						t.Errorf("%s: Next() = %v; want limit %d", c.name, err, limit)
					}
				case err != nil:
					t.Fatalf("%s: Next() = %v", c.name, err)
				case len(record) > 1:
					got = append(got, fmt.Sprint(len(record)))
				default:
					got = append(got, string(record))
				}
			}
			if !slices.Equal(got, c.want) {
				t.Errorf("%s: records %.300q; want %.300q (offset! of what is too large, length of what is long)", c.name, got, c.want)
			}
		}
	}
}

func TestSplitterReadError(t *testing.T) {
	broken := errors.New("broken")
	s := Splitter{Reader: io.MultiReader(strings.NewReader("{\"a\":1}\n{\"a\":"), iotest.ErrReader(broken))}
	if record, err := s.Next(); string(record) != `{"a":1}` || err != nil {
		t.Errorf("Next() = %q, %v; want the record before the error", record, err)
	}
	for range 2 {
		if record, err := s.Next(); record != nil || err != broken {
			t.Errorf("Next() = %q, %v; want the reader's error", record, err)
		}
	}
	stuck := Splitter{Reader: iotest.ErrReader(nil)}
	if _, err := stuck.Next(); err != io.ErrNoProgress {
		t.Errorf("Next() of a reader that returns nothing = %v; want %v", err, io.ErrNoProgress)
	}
}

// TestSplitterMemory reads 8 MiB of lines, bad ones among them, through a
// buffer that must not grow.
func TestSplitterMemory(t *testing.T) {
	line := []byte(bare("a") + "\n{\"cut\":\n")
	n := 8 << 20 / len(line)
	s := Splitter{Reader: &repeated{line: line, n: n}}
	records := 0
	for {
		if _, err := s.Next(); err == io.EOF {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		records++
	}
	if records != 2*n || cap(s.src.buf) != splitterBuffer {
		t.Errorf("%d records through a buffer of %d bytes; want %d, %d", records, cap(s.src.buf), 2*n, splitterBuffer)
	}
}

// TestSplitterSwap takes the memory of every record, and finds all of them unchanged at the end.
func TestSplitterSwap(t *testing.T) {
	var want, got []string
	for i := range 300 {
		want = append(want, fmt.Sprintf(`{"n":%d,"pad":"%s"}`, i, repeat("é", i*i%2000)))
	}
	file := strings.Join(want, "\n")
	s := Splitter{Reader: iotest.HalfReader(strings.NewReader(file))}
	if first := s.Swap(make([]byte, 5, 3000)); len(first) != 0 {
		t.Errorf("Swap() before the first record = %q; want nothing", first)
	}
	var records [][]byte
	for {
		record, err := s.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		records = append(records, record)
		if offset := s.Offset(); file[:offset] != strings.Join(want[:len(records)], "\n") {
			t.Fatalf("Offset() = %d behind record %d, %.60q; want its end", offset, len(records), record)
		}
		if len(records)%2 == 0 {
			s.Swap(nil)
			continue
		}
		records[len(records)-1] = bytes.Clone(record)
		old := s.Swap(make([]byte, 100))
		clear(old[:cap(old)]) // it is the caller's now
	}
	for _, r := range records {
		got = append(got, string(r))
	}
	if !slices.Equal(got, want) {
		t.Errorf("%d records that were kept are not those of the file", len(got))
	}
}

// repeated reads as n times line.
type repeated struct {
	line []byte
	rest []byte
	n    int
}

func (r *repeated) Read(p []byte) (n int, err error) {
	for n < len(p) {
		if len(r.rest) == 0 {
			if r.n == 0 {
				return n, io.EOF
			}
			r.rest = r.line
			r.n--
		}
		m := copy(p[n:], r.rest)
		n, r.rest = n+m, r.rest[m:]
	}
	return n, nil
}
