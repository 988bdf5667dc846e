package unixfs

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/qsync/qsync/manifest"
)

// stream is n bytes that follow from a seed: the digests of the seed and a counter.
func stream(seed string, n int) []byte {
	var out []byte
	for i := uint64(0); len(out) < n; i++ {
		d := sha256.Sum256(binary.BigEndian.AppendUint64([]byte(seed), i))
		out = append(out, d[:]...)
	}
	return out[:n]
}

func leaves(raw []byte) (digests []byte) {
	for leaf := range slices.Chunk(raw, LeafSize) {
		d := manifest.Sum(leaf)
		digests = append(digests, d[:]...)
	}
	return digests
}

// vectors are files and what Kubo 0.43.0 with the profile unixfs-v1-2025 calls them.
var vectors = []struct {
	path string
	raw  func() []byte
	cid  string
}{
	{"full/chunk", func() []byte { return stream("chunk", LeafSize) }, "bafkreig7qyaw2d3oucqmua4mmrwbaskurkdxjchtn3gblt36x5olkqrwem"},
	{"full/chunk-plus-one", func() []byte { return stream("chunk-plus-one", LeafSize+1) }, "bafybeib7s4apsujok2oge46yh4kboratl76tzjefxrq5u65qqamfz2w7a4"},
	{"full/empty", func() []byte { return nil }, "bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku"},
	{"full/one", func() []byte { return stream("one", 1) }, ""},
	{"full/parachains/db/CURRENT", func() []byte { return []byte("MANIFEST-000001\n") }, "bafkreiapdowxbr55dyfgsvrikpwffe2viyx42bbdey5d2oow2dlqw6aeim"},
	{"full/segment", func() []byte { return stream("segment", 16*LeafSize) }, "bafybeibqzfahmuayr77dhmz7hukiskhxmutlp6jy73hncqxgpesoddrfiq"},
	{"full/sst", func() []byte { return stream("sst", 64*LeafSize+4096) }, "bafybeidqv3kmuarbdw5csj3dp6tohs63gefinw4jsjvkehl42eqgiypghm"},
	{"full/zeros", func() []byte { return make([]byte, 3*LeafSize+5) }, "bafybeiayxwb54rnxpofwvtqrlwuuy45oxvliezr7ryekoimjfagbs6p5gi"},
}

func TestVectors(t *testing.T) {
	x := &manifest.Index{}
	for _, v := range vectors {
		raw := v.raw()
		f := manifest.File{Path: v.path, Size: int64(len(raw)), Chunks: leaves(raw)}
		x.Files = append(x.Files, f)
		if link := File(f.Size, f.Chunks, nil); v.cid != "" && link.String() != v.cid {
			t.Errorf("%s: %s, want %s", v.path, link, v.cid)
		}
	}
	want := map[string]bool{ // the root and full/ in it
		"bafybeigvnplpwioncrrnj72ssj567wetaoe6nzlesxvt56geid2mk6lj3u": false,
		"bafybeieciklhurkidkmcanjq3tm2rm23lvbekwszejd47vvlfhhxnc6d2q": false,
	}
	root, err := Snapshot(x, func(c CID, block []byte) {
		if c.Digest != manifest.Sum(block) {
			t.Errorf("%s is not the address of its block", c)
		}
		if _, named := want[c.String()]; named {
			want[c.String()] = true
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	if root.String() != "bafybeigvnplpwioncrrnj72ssj567wetaoe6nzlesxvt56geid2mk6lj3u" {
		t.Errorf("the root is %s", root)
	}
	for c, told := range want {
		if !told {
			t.Errorf("the block of %s was not told", c)
		}
	}
}

// TestManyFiles: so many that the directory becomes a HAMT.
func TestManyFiles(t *testing.T) {
	root, err := Tree(6000, func(i int) (string, Link) {
		raw := stream(fmt.Sprint(i), 100)
		return fmt.Sprintf("%06d.sst", i), File(100, leaves(raw), nil)
	}, nil)
	if want := "bafybeia2j6mrsrae3ip6dir4kw37ydm2nx7s4jhcrii2ro46vumirgsgli"; err != nil || root.String() != want {
		t.Errorf("%s, %v, want %s", root, err, want)
	}
}

func TestParseCID(t *testing.T) {
	good := CID{Raw, manifest.Sum([]byte("x"))}
	for _, c := range []CID{good, {DagPB, good.Digest}} {
		if back, err := ParseCID(c.String()); err != nil || back != c {
			t.Errorf("%s: %s, %v", c, back, err)
		}
	}
	text := good.String()
	for _, bad := range []string{
		"", "b", text[1:], text + "a", strings.ToUpper(text), text[:58] + "1", "z" + text[1:],
		"bafybeigvnplpwioncrrnj72ssj567wetaoe6nzlesxvt56geid2mk6lj3", // one short
		"bagaaiera" + text[9:], // another codec
		text[:58] + "7",        // bits behind the end
		"QmbWqxBEKC3P8tqsKc98xmWNzrzDtRLMiMPL8wBuTGsMnR",
	} {
		if c, err := ParseCID(bad); err == nil {
			t.Errorf("%q is read as %s", bad, c)
		}
	}
}
