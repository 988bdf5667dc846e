package ipfs

import (
	"bytes"
	"context"

	ds "github.com/ipfs/go-datastore"
	"github.com/ipfs/go-datastore/query"
	"go.etcd.io/bbolt"
)

// bucketStore is a bucket as IPFS's libraries want it.
type bucketStore struct {
	db     *bbolt.DB
	bucket []byte
}

var _ ds.Batching = (*bucketStore)(nil)

// Get implements [ds.Datastore].
func (d *bucketStore) Get(_ context.Context, key ds.Key) (value []byte, err error) {
	err = d.db.View(func(tx *bbolt.Tx) error {
		v := tx.Bucket(d.bucket).Get(key.Bytes())
		if v == nil {
			return ds.ErrNotFound
		}
		value = bytes.Clone(v)
		return nil
	})
	return value, err
}

// Has implements [ds.Datastore].
func (d *bucketStore) Has(ctx context.Context, key ds.Key) (bool, error) {
	return ds.GetBackedHas(ctx, d, key)
}

// GetSize implements [ds.Datastore].
func (d *bucketStore) GetSize(ctx context.Context, key ds.Key) (int, error) {
	return ds.GetBackedSize(ctx, d, key)
}

// Query implements [ds.Datastore]. The entries are those of one moment.
func (d *bucketStore) Query(_ context.Context, q query.Query) (query.Results, error) {
	var all []query.Entry
	prefix := []byte(ds.NewKey(q.Prefix).String())
	err := d.db.View(func(tx *bbolt.Tx) error {
		c := tx.Bucket(d.bucket).Cursor()
		for k, v := c.Seek(prefix); k != nil && bytes.HasPrefix(k, prefix); k, v = c.Next() {
			e := query.Entry{Key: string(k), Size: len(v)}
			if !q.KeysOnly {
				e.Value = bytes.Clone(v)
			}
			all = append(all, e)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return query.NaiveQueryApply(q, query.ResultsWithEntries(q, all)), nil
}

// Put implements [ds.Datastore].
func (d *bucketStore) Put(_ context.Context, key ds.Key, value []byte) error {
	return d.db.Update(func(tx *bbolt.Tx) error { return tx.Bucket(d.bucket).Put(key.Bytes(), value) })
}

// Delete implements [ds.Datastore].
func (d *bucketStore) Delete(_ context.Context, key ds.Key) error {
	return d.db.Update(func(tx *bbolt.Tx) error { return tx.Bucket(d.bucket).Delete(key.Bytes()) })
}

// Sync implements [ds.Datastore]: each change is durable by itself, if the file is
// meant to be.
func (*bucketStore) Sync(context.Context, ds.Key) error { return nil }

// Close implements [ds.Datastore]. The file stays open: others are in it too.
func (*bucketStore) Close() error { return nil }

// Batch implements [ds.Batching].
func (d *bucketStore) Batch(context.Context) (ds.Batch, error) { return &batch{d: d}, nil }

// batch is changes that are made together.
type batch struct {
	d       *bucketStore
	changes []change
}

// change sets a key, or deletes it if the value is nil.
type change struct{ key, value []byte }

func (b *batch) Put(_ context.Context, key ds.Key, value []byte) error {
	b.changes = append(b.changes, change{key.Bytes(), append([]byte{}, value...)})
	return nil
}

func (b *batch) Delete(_ context.Context, key ds.Key) error {
	b.changes = append(b.changes, change{key: key.Bytes()})
	return nil
}

func (b *batch) Commit(context.Context) error {
	err := b.d.db.Update(func(tx *bbolt.Tx) error {
		bucket := tx.Bucket(b.d.bucket)
		for _, c := range b.changes {
			err := bucket.Delete(c.key)
			if c.value != nil {
				err = bucket.Put(c.key, c.value)
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
	b.changes = nil
	return err
}
