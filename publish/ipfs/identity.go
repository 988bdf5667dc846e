package ipfs

import (
	"bytes"
	"crypto/ed25519"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"

	"github.com/ipfs/boxo/ipns"
	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/peer"
)

// Identity is the secret that a node and its names are known by. It has no exported
// field, so that no log shows it.
type Identity struct {
	key  crypto.PrivKey
	seed []byte
}

// NewIdentity makes an identity, and the text that [ParseIdentity] reads: what Kubo
// has as Identity.PrivKey in its configuration.
func NewIdentity() (text []byte, err error) {
	key, _, err := crypto.GenerateEd25519Key(rand.Reader)
	if err != nil {
		return nil, err
	}
	b, err := crypto.MarshalPrivateKey(key)
	if err != nil {
		return nil, err
	}
	return append(base64.StdEncoding.AppendEncode(nil, b), '\n'), nil
}

// errIdentity says nothing of the text: it may be a secret of another kind.
var errIdentity = errors.New("it is no Ed25519 key of libp2p in base64")

// ParseIdentity reads what [NewIdentity] makes.
func ParseIdentity(text []byte) (*Identity, error) {
	b, err := base64.StdEncoding.AppendDecode(nil, bytes.TrimSpace(text))
	if err != nil {
		return nil, errIdentity
	}
	key, err := crypto.UnmarshalPrivateKey(b)
	if err != nil || key.Type() != crypto.Ed25519 {
		return nil, errIdentity
	}
	raw, err := key.Raw()
	if err != nil || len(raw) != ed25519.PrivateKeySize {
		return nil, errIdentity
	}
	return &Identity{key, ed25519.PrivateKey(raw).Seed()}, nil
}

// Peer is what the network calls the node.
func (i *Identity) Peer() string { return i.id().String() }

func (i *Identity) id() peer.ID {
	id, err := peer.IDFromPrivateKey(i.key)
	if err != nil {
		panic(err) // an Ed25519 key has one
	}
	return id
}

// channelSalt tells the keys of channels from whatever else may be derived from an
// identity some day.
const channelSalt = "qsync channel on IPNS v1"

// channelKey is the key of a channel's name: an Ed25519 key whose seed is HKDF with
// SHA-256 of the identity's seed, with [channelSalt] as salt and the channel as info.
// So the identity is all that must be kept, and who learns the key of one channel
// has nothing of the others.
func (i *Identity) channelKey(channel string) (crypto.PrivKey, error) {
	seed, err := hkdf.Key(sha256.New, i.seed, []byte(channelSalt), channel, ed25519.SeedSize)
	if err != nil {
		return nil, err
	}
	return crypto.UnmarshalEd25519PrivateKey(ed25519.NewKeyFromSeed(seed))
}

// Name is the name on IPNS of a channel, like k51qzi5uqu5d….
func (i *Identity) Name(channel string) (string, error) {
	key, err := i.channelKey(channel)
	if err != nil {
		return "", err
	}
	id, err := peer.IDFromPrivateKey(key)
	if err != nil {
		return "", err
	}
	return ipns.NameFromPeer(id).String(), nil
}

// DNSLink is the text of the TXT record that lets a host name stand for a channel;
// it belongs to _dnslink. before the host name.
func (i *Identity) DNSLink(channel string) (string, error) {
	name, err := i.Name(channel)
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("dnslink=/ipns/%s", name), nil
}
