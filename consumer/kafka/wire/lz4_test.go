package wire

import (
	"bytes"
	"encoding/binary"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/pierrec/lz4/v4"
)

// lz4Frames returns src as frames of every kind that a producer may write.
func lz4Frames(t testing.TB, src []byte) map[string][]byte {
	t.Helper()
	out := make(map[string][]byte)
	for name, options := range map[string][]lz4.Option{
		"the default":          nil,
		"block sums":           {lz4.BlockChecksumOption(true)},
		"no sum":               {lz4.ChecksumOption(false)},
		"blocks of 64 KiB":     {lz4.BlockSizeOption(lz4.Block64Kb)},
		"the size before":      {lz4.SizeOption(uint64(len(src)))},
		"the highest level":    {lz4.CompressionLevelOption(lz4.Level9), lz4.BlockSizeOption(lz4.Block256Kb)},
		"everything at a time": {lz4.BlockChecksumOption(true), lz4.SizeOption(uint64(len(src))), lz4.BlockSizeOption(lz4.Block1Mb)},
	} {
		var b bytes.Buffer
		w := lz4.NewWriter(&b)
		if err := w.Apply(options...); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(src); err != nil {
			t.Fatal(err)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		out[name] = b.Bytes()
	}
	out["linked blocks"] = linked(t, src)
	return out
}

// linked writes src as one frame of blocks that refer to each other, as the C library and
// librdkafka's users do. The Go library has no writer for them, so each block here is one
// match into the block before: an LZ4 sequence without literals, and the last five bytes,
// which must be literals.
func linked(t testing.TB, src []byte) []byte {
	t.Helper()
	b := binary.LittleEndian.AppendUint32(nil, lz4Magic)
	b = append(b, 1<<6, 4<<4, 0)
	plain := func(part []byte) {
		b = binary.LittleEndian.AppendUint32(b, uint32(len(part))|lz4Plain)
		b = append(b, part...)
	}
	var before []byte
	for part := range slices.Chunk(src, 1000) {
		matches := len(part) == 1000 && len(before) == 1000 && bytes.Equal(part[:995], before[:995])
		before = part
		if matches {
			// 995 bytes from 1000 back: a match length of 15 + 255*3 + 211 + 4.
			block := []byte{0x0f, 0xe8, 0x03, 255, 255, 255, 211, 0x50}
			block = append(block, part[995:]...)
			b = binary.LittleEndian.AppendUint32(b, uint32(len(block)))
			b = append(b, block...)
			continue
		}
		plain(part)
	}
	return binary.LittleEndian.AppendUint32(b, 0)
}

func TestUnpackLz4(t *testing.T) {
	period := make([]byte, 1000)
	r := rand.New(rand.NewPCG(1, 2))
	for i := range period {
		period[i] = byte(r.IntN(256))
	}
	for name, src := range map[string][]byte{
		"nothing": {}, "a byte": {'x'}, "text": []byte(strings.Repeat("compressible text ", 30_000)),
		"noise": bytes.Clone(period), "a period": bytes.Repeat(period, 300),
	} {
		frames := lz4Frames(t, src)
		for kind, frame := range frames {
			out, err := unpackLz4([]byte("before "), frame, maxUnpacked)
			if err != nil || string(out) != "before "+string(src) {
				t.Errorf("unpack of %s, %s: %d bytes, %v; want %d", name, kind, len(out), err, len(src)+7)
			}
			for cut := 1; cut < len(frame); cut += 1 + cut/3 {
				if _, err := unpackLz4(nil, frame[:len(frame)-cut], maxUnpacked); err == nil {
					t.Errorf("unpack of %s, %s, without its last %d bytes = nil; want an error", name, kind, cut)
				}
			}
		}
		skippable := append([]byte{0x53, 0x2a, 0x4d, 0x18, 3, 0, 0, 0}, "xyz"...)
		both := slices.Concat(skippable, frames["the default"], skippable, frames["linked blocks"])
		out, err := unpackLz4(nil, both, maxUnpacked)
		if err != nil || !bytes.Equal(out, slices.Concat(src, src)) {
			t.Errorf("unpack of two frames of %s: %d bytes, %v; want %d", name, len(out), err, 2*len(src))
		}
	}
}

// FuzzUnpackLz4 compares with the library's reader: our reader takes each frame that the
// library takes, and as the same bytes. Checksums are the library's alone.
func FuzzUnpackLz4(f *testing.F) {
	for _, frame := range lz4Frames(f, []byte(strings.Repeat("compressible ", 100))) {
		f.Add(frame)
	}
	f.Fuzz(func(t *testing.T, src []byte) {
		const limit = 1 << 20
		got, err := unpackLz4(nil, src, limit)
		if len(got) > limit+(4<<20) {
			t.Fatalf("unpack with a limit of %d = %d bytes", limit, len(got))
		}
		want, libraryErr := io.ReadAll(io.LimitReader(lz4.NewReader(bytes.NewReader(src)), limit+1))
		if libraryErr != nil || len(want) > limit || len(want) == 0 {
			return
		}
		if err != nil || !bytes.HasPrefix(got, want) {
			t.Fatalf("unpack = %d bytes, %v; the library has %d", len(got), err, len(want))
		}
	})
}
