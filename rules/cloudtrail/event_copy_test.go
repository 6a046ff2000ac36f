package cloudtrail

import (
	"bytes"
	"reflect"
	"testing"
	"unsafe"
)

// A copy must not lie in the bytes of the record that it was made from, not even with a field that was added since.
func TestEventCopy(t *testing.T) {
	record := []byte("abcdefghijklmnopqrstuvwxyz")
	event := func(record []byte) (e Event) {
		text := func(i int) string { return unsafe.String(&record[i], 3) }
		n := 0
		var fill func(v reflect.Value)
		fill = func(v reflect.Value) {
			switch {
			case v.Kind() == reflect.String:
				*(*string)(v.Addr().UnsafePointer()) = text(n % 20) // of an unexported field, too
				n++
			case v.Type() == reflect.TypeFor[Identity]():
				for i := range v.NumField() {
					fill(v.Field(i))
				}
			}
		}
		v := reflect.ValueOf(&e).Elem()
		for i := range v.NumField() {
			fill(v.Field(i))
		}
		e.Raw, e.requestParameters = record, record[4:9]
		return e
	}
	original := event(record)
	got, buf := original.Copy([]byte("before"))
	clear(record)
	if want := event([]byte("abcdefghijklmnopqrstuvwxyz")); !reflect.DeepEqual(got, want) {
		t.Errorf("Copy() = %+v once the record has changed; want %+v", got, want)
	}
	if !bytes.HasPrefix(buf, []byte("before")) {
		t.Errorf("Copy() gives the buffer %q; want what was in it in front", buf)
	}
	if got, _ := (&Event{}).Copy(nil); !reflect.DeepEqual(got, Event{}) {
		t.Errorf("Copy() of nothing = %+v; want nothing", got)
	}
}
