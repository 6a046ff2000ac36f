package config

import (
	"bytes"
	"errors"
	"reflect"
	"testing"
)

// FuzzFile: any file is either a configuration that prints and loads again, or Problems.
func FuzzFile(f *testing.F) {
	for _, seed := range []string{
		"", "shards: 8\n", "kafka: {brokers: [a:1, b:2]}\n", "a: &a [*a]\n", "&a {kafka: *a}\n", "? [x]\n: y\n", "<<: {shards: 1}\n", "x-a: &a {shards: 2, <<: *a}\n<<: [*a, *a]\n",
		"!!binary shards: 1\n", "topics:\n  input: |\n    x\n", "rules: {access_denied: {error_codes: [\"\\e[2J\", ~]}}\n",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		load := func(data []byte) (*Config, error) {
			rules, _ := known()
			return Load(Input{File: write(t, string(data)), Rules: rules, HostName: "host"})
		}
		c, err := load(data)
		if err != nil {
			var problems Problems
			if !errors.As(err, &problems) || problems.Error() == "" {
				t.Fatalf("Load(%q) = %v; want Problems", data, err)
			}
			return
		}
		var printed bytes.Buffer
		if err := c.Print(&printed); err != nil {
			t.Fatal(err)
		}
		again, err := load(printed.Bytes())
		if err != nil {
			t.Fatalf("Load(Print(Load(%q))) = %v; want no error\n%s", data, err, printed.Bytes())
		}
		for _, loaded := range []*Config{c, again} {
			loaded.fields, loaded.origins, loaded.sections = nil, nil, nil
		}
		c.Kafka.SASL.Password, again.Kafka.SASL.Password = "", "" // hidden in print
		if !reflect.DeepEqual(c, again) {
			t.Fatalf("Load(Print(Load(%q))) = %+v; want %+v", data, again, c)
		}
	})
}
