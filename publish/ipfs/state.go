package ipfs

import (
	"fmt"
	"time"

	"go.etcd.io/bbolt"
)

// What a node's state file holds.
var (
	namesBucket     = []byte("names")     // the last record of each name, by channel
	announcedBucket = []byte("announced") // the roots that are provided, by channel: binary CIDs
	providingBucket = []byte("providing") // what the library knows of it, so that a restart does not start over
)

// stateTimeout is how long to wait for another process that has the file open.
const stateTimeout = time.Second

func openState(file string) (*bbolt.DB, error) {
	db, err := bbolt.Open(file, 0o600, &bbolt.Options{Timeout: stateTimeout})
	if err != nil {
		return nil, fmt.Errorf("open the node's state %s: %w", file, err)
	}
	err = db.Update(func(tx *bbolt.Tx) error {
		for _, name := range [][]byte{namesBucket, announcedBucket, providingBucket} {
			if _, err := tx.CreateBucketIfNotExists(name); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		db.Close()
		return nil, fmt.Errorf("open the node's state %s: %w", file, err)
	}
	return db, nil
}
