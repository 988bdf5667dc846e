package trust

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"testing"
	"time"

	"github.com/qsync/qsync/manifest"
)

// vector is a line of ../testdata/trust.jsonl; FORMAT.md describes it.
type vector struct {
	Name      string
	Object    string
	Channel   string
	Class     string
	Pinned    []string
	Threshold int
	Keys      string
	Now       time.Time
	Seen      *struct {
		What     string
		Sequence int64
		Text     string
	}
	Note string
}

func readVectors(t testing.TB) []vector {
	t.Helper()
	b, err := os.ReadFile("../testdata/trust.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.DisallowUnknownFields()
	var all []vector
	for dec.More() {
		var v vector
		if err := dec.Decode(&v); err != nil {
			t.Fatal(err)
		}
		all = append(all, v)
	}
	return all
}

func TestVectors(t *testing.T) {
	for _, v := range readVectors(t) {
		t.Run(v.Name, func(t *testing.T) {
			err := v.accept(t)
			if v.Class == "ok" {
				want(t, err, "")
			} else {
				want(t, err, Class(v.Class))
			}
		})
	}
}

// accept does with the note of a vector what a client would.
func (v *vector) accept(t *testing.T) error {
	policy, err := NewPolicy(v.Pinned, v.Threshold)
	if err != nil {
		t.Fatal(err)
	}
	if v.Keys != "" {
		if policy, _, err = policy.Certify([]byte(v.Keys), v.Now); err != nil {
			t.Fatal(err)
		}
	}
	marks := Marks{Dir: t.TempDir()}
	if v.Seen != nil {
		if err := marks.Accept(policy, v.Seen.What, v.Seen.Sequence, []byte(v.Seen.Text)); err != nil {
			t.Fatal(err)
		}
	}
	switch v.Object {
	case "head":
		head, err := policy.OpenHead([]byte(v.Note), v.Channel, v.Now)
		if err != nil {
			return err
		}
		return marks.Accept(policy, "head "+v.Channel, head.Sequence, text(t, head))
	case "catalog":
		catalog, err := policy.OpenCatalog([]byte(v.Note), v.Now)
		if err != nil {
			return err
		}
		return marks.Accept(policy, "catalog", catalog.Sequence, text(t, catalog))
	case "keys":
		_, keys, err := policy.Certify([]byte(v.Note), v.Now)
		if err != nil {
			return err
		}
		return marks.Accept(policy, "keys", keys.Sequence, text(t, keys))
	}
	return errors.New("unknown object " + v.Object)
}

func text(t *testing.T, m marshaler) []byte {
	text, err := m.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// The signatures of the good objects are Ed25519's, which are the same
// whenever they are made: this is how to make them again.
func TestGoodNotes(t *testing.T) {
	var keys map[string]struct{ Signer, Verifier string }
	b, err := os.ReadFile("../testdata/keys.json")
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(b, &keys); err != nil {
		t.Fatal(err)
	}
	for name, key := range keys {
		if got, err := VerifierOf(key.Signer); err != nil || got != key.Verifier {
			t.Errorf("verifier of %s: %s, %v", name, got, err)
		}
	}
	for object, by := range map[string]string{
		manifest.KeysKey: "root", manifest.CatalogKey: "online", manifest.HeadKey("polkadot-rocksdb-archive"): "online",
	} {
		signed, err := os.ReadFile("../testdata/good/" + object)
		if err != nil {
			t.Fatal(err)
		}
		text, _, _ := bytes.Cut(signed, []byte("\n\n"))
		s, err := NewSigner(keys[by].Signer)
		if err != nil {
			t.Fatal(err)
		}
		if again, err := Sign(append(text, '\n'), s); err != nil || !bytes.Equal(again, signed) {
			t.Errorf("%s signed again is %q, %v", object, again, err)
		}
	}
}
