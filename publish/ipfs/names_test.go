package ipfs

import (
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ipfs/boxo/ipns"

	"github.com/qsync/qsync/manifest"
	"github.com/qsync/qsync/manifest/unixfs"
)

// only is the one record that there is.
func only(t *testing.T, n *names) (sequence uint64, root unixfs.CID, end time.Time) {
	t.Helper()
	all := n.all()
	if len(all) != 1 {
		t.Fatalf("%d records", len(all))
	}
	for key, r := range all {
		name := must1(ipns.NameFromRoutingKey([]byte(key)))
		must(t, ipns.ValidateWithName(r.parsed, name))
		root, _, err := r.value()
		must(t, err)
		return must1(r.parsed.Sequence()), root, must1(r.parsed.Validity())
	}
	panic("unreachable")
}

// TestSequence: the clock goes back to the year 2000, and the sequence of a name does not.
func TestSequence(t *testing.T) {
	file, me := filepath.Join(t.TempDir(), "ipfs.db"), identity(t)
	root := unixfs.CID{Codec: unixfs.DagPB, Digest: manifest.Sum(nil)}
	reopen := func() (*names, func()) {
		state, err := openState(file)
		must(t, err)
		n, err := openNames(me, state)
		must(t, err)
		return n, func() { state.Close() }
	}
	n, end := reopen()
	must(t, n.set("demo-files", root, time.Minute, nameLifetime))
	before, _, _ := only(t, n)
	end()
	synctest.Test(t, func(t *testing.T) {
		n, end := reopen()
		defer end()
		must(t, n.set("demo-files", root, time.Minute, nameLifetime))
		if after, _, _ := only(t, n); after != before+1 {
			t.Errorf("sequence %d after %d", after, before)
		}
	})
}

// TestRenew: a name that nobody publishes anew is signed again in time, for the same
// root, also if nothing ran for longer than it lasts.
func TestRenew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		state, err := openState(filepath.Join(t.TempDir(), "ipfs.db"))
		must(t, err)
		defer state.Close()
		me := identity(t)
		n, err := openNames(me, state)
		must(t, err)
		root := unixfs.CID{Codec: unixfs.DagPB, Digest: manifest.Sum(nil)}
		must(t, n.set("demo-files", root, time.Minute, nameLifetime))
		sequence, _, _ := only(t, n)
		for range 20 {
			idle, err := n.renew()
			must(t, err)
			time.Sleep(idle)
			now, stands, end := only(t, n)
			if now < sequence || stands != root || time.Until(end) < nameLifetime/2 {
				t.Fatalf("sequence %d after %d, %s, until %s", now, sequence, stands, end)
			}
			sequence = now
		}
		time.Sleep(10 * nameLifetime)
		n, err = openNames(me, state)
		must(t, err)
		if _, err := n.renew(); err != nil {
			t.Error(err)
		}
		if now, stands, _ := only(t, n); now <= sequence || stands != root {
			t.Errorf("sequence %d after %d, %s", now, sequence, stands)
		}
	})
}

// TestChannelKeys: names follow from identity and channel, and are those that they were.
func TestChannelKeys(t *testing.T) {
	me, err := ParseIdentity([]byte("CAESQAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4fA6EHv/POEL4dcN0Y50vAmWfk1jCbpQ1fHdyGZBJVMbg=\n"))
	must(t, err)
	for _, v := range []struct{ got, want string }{
		{me.Peer(), "12D3KooWA4Xop1JaT3MHxwYMkCepYsv4iPVopMXwCz5iHYdBfeSB"},
		{must1(me.Name("polkadot-rocksdb-archive")), "k51qzi5uqu5di1dasemohlik6krks2lzojxmqxlxl1fw2nlk802zwlhkf5v3b5"},
		{must1(me.Name("demo-files")), "k51qzi5uqu5dltwespbpdoasgj339c1zjpleg4clwodm837wuh8nho9w72tose"},
	} {
		if v.got != v.want {
			t.Errorf("%s, want %s", v.got, v.want)
		}
	}
	for _, bad := range []string{"", "secret", "CAESQAAB", "AAAA"} {
		if _, err := ParseIdentity([]byte(bad)); err == nil || (bad != "" && len(err.Error()) > 60) {
			t.Errorf("%q: %v", bad, err)
		}
	}
}
