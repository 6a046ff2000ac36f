package main

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
)

// The parts of a CycloneDX 1.6 document that are used here: https://cyclonedx.org/docs/1.6/json/
type (
	document struct {
		Format       string       `json:"bomFormat"`
		Spec         string       `json:"specVersion"`
		Serial       string       `json:"serialNumber"`
		Version      int          `json:"version"`
		Metadata     metadata     `json:"metadata"`
		Components   []component  `json:"components"`
		Dependencies []dependency `json:"dependencies"`
	}
	metadata struct {
		Component component `json:"component"`
	}
	component struct {
		Ref        string     `json:"bom-ref"`
		Type       string     `json:"type"`
		Name       string     `json:"name"`
		Version    string     `json:"version"`
		Licences   []choice   `json:"licenses"`
		PURL       string     `json:"purl"`
		Hashes     []hash     `json:"hashes,omitempty"`
		Properties []property `json:"properties,omitempty"`
	}
	choice struct {
		Licence struct {
			ID string `json:"id"`
		} `json:"license"`
	}
	hash struct {
		Algorithm string `json:"alg"`
		Content   string `json:"content"`
	}
	property struct {
		Name  string `json:"name"`
		Value string `json:"value"`
	}
	dependency struct {
		Ref       string   `json:"ref"`
		DependsOn []string `json:"dependsOn,omitempty"`
	}
)

// sbom prints the bill of materials of a binary. It has no time in it: the same binary gives the same bytes.
func sbom(version, binary string, out io.Writer) error {
	modules, info, err := inside(program, binary)
	if err != nil {
		return err
	}
	modules[0].Version = version
	data, err := os.ReadFile(binary)
	if err != nil {
		return err
	}
	sum := sha256.Sum256(data)
	refs := map[string]string{}
	for _, m := range modules {
		refs[m.Path] = purl(m)
	}
	d := document{Format: "CycloneDX", Spec: "1.6", Serial: "urn:uuid:" + uuid(sum), Version: 1}
	for i, m := range modules {
		c := component{Ref: refs[m.Path], Type: "library", Name: m.Path, Version: m.Version, PURL: refs[m.Path]}
		for _, id := range m.Licences {
			var l choice
			l.Licence.ID = id
			c.Licences = append(c.Licences, l)
		}
		if m.Sum != "" {
			c.Properties = []property{{"go:sum", m.Sum}}
		}
		dep := dependency{Ref: refs[m.Path]}
		for _, to := range m.Imports {
			dep.DependsOn = append(dep.DependsOn, refs[to])
		}
		slices.Sort(dep.DependsOn)
		d.Dependencies = append(d.Dependencies, dep)
		if i > 0 {
			d.Components = append(d.Components, c)
			continue
		}
		c.Type, c.Hashes = "application", []hash{{"SHA-256", hex.EncodeToString(sum[:])}}
		for _, s := range info.Settings {
			if s.Key == "GOOS" || s.Key == "GOARCH" || s.Key == "CGO_ENABLED" || s.Key == "-trimpath" || s.Key == "-ldflags" {
				c.Properties = append(c.Properties, property{"go:build:" + s.Key, s.Value})
			}
		}
		d.Metadata.Component = c
	}
	enc := json.NewEncoder(out)
	enc.SetIndent("", "  ")
	return enc.Encode(d)
}

// purl is the package URL of a module; that of Go's own packages is the one that scanners know.
// https://github.com/package-url/purl-spec/blob/main/types-doc/golang-definition.md
func purl(m *module) string {
	if m.Path == standard {
		return "pkg:golang/stdlib@" + strings.TrimPrefix(m.Version, "go")
	}
	return fmt.Sprintf("pkg:golang/%s@%s", m.Path, strings.ReplaceAll(m.Version, "+", "%2B"))
}

// uuid makes a UUID of version 8 (RFC 9562) out of a hash.
func uuid(sum [sha256.Size]byte) string {
	sum[6], sum[8] = sum[6]&0x0f|0x80, sum[8]&0x3f|0x80
	h := hex.EncodeToString(sum[:16])
	return strings.Join([]string{h[:8], h[8:12], h[12:16], h[16:20], h[20:]}, "-")
}
