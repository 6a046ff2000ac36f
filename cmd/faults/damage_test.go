package main

import (
	"bytes"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
)

// contents returns the files of a directory by name.
func contents(t *testing.T, dir string) map[string]string {
	t.Helper()
	all := make(map[string]string)
	files, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range files {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		all[filepath.Base(path)] = string(text)
	}
	return all
}

func stateDir(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// TestDamageState: damage changes one file of any size, and never the one that an instance locks.
func TestDamageState(t *testing.T) {
	files := map[string]string{
		"000001.log": string(bytes.Repeat([]byte("log "), 5000)), "000002.sst": "s", "CURRENT": "MANIFEST-000001\n", "LOCK": "", "empty": "",
	}
	hit := make(map[string]bool)
	for seed := range uint64(100) {
		dir := stateDir(t, files)
		said, err := damageState(dir, rand.New(rand.NewPCG(seed, 2)))
		if err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		after := contents(t, dir)
		changed := 0
		for name, text := range files {
			if left, ok := after[name]; !ok || left != text {
				changed++
				hit[name] = true
			}
		}
		if changed != 1 {
			t.Errorf("seed %d: damageState says %q and changes %d files; want one", seed, said, changed)
		}
	}
	for _, name := range []string{"000001.log", "000002.sst", "CURRENT"} {
		if !hit[name] {
			t.Errorf("100 seeds never damage %s", name)
		}
	}
	if hit["LOCK"] {
		t.Error("damageState changes LOCK")
	}
	if _, err := damageState(filepath.Join(t.TempDir(), "none"), rand.New(rand.NewPCG(1, 2))); err != nil {
		t.Errorf("damageState of a directory that is not there = %v; want nil", err)
	}
}

func TestCopyAndSwapStates(t *testing.T) {
	one, two := map[string]string{"a": "1"}, map[string]string{"b": "2"}
	a, b := stateDir(t, one), stateDir(t, two)
	old := a + "-old"
	if err := copyState(a, old); err != nil || !maps.Equal(contents(t, old), one) {
		t.Errorf("copyState = %v with %v; want %v", err, contents(t, old), one)
	}
	if err := swapStates(a, b); err != nil || !maps.Equal(contents(t, a), two) || !maps.Equal(contents(t, b), one) {
		t.Errorf("swapStates = %v with %v and %v", err, contents(t, a), contents(t, b))
	}
	if err := copyState(old, a); err != nil || !maps.Equal(contents(t, a), one) {
		t.Errorf("copyState = %v with %v; want the old copy %v alone", err, contents(t, a), one)
	}
	// An instance that was killed before it had made its directory has none.
	none := filepath.Join(t.TempDir(), "none")
	if err := swapStates(a, none); err != nil || !maps.Equal(contents(t, none), one) {
		t.Errorf("swapStates with none = %v with %v; want %v", err, contents(t, none), one)
	}
	if err := copyState(a, old); err != nil || len(contents(t, old)) > 0 {
		t.Errorf("copyState of none = %v with %v; want nothing", err, contents(t, old))
	}
}
