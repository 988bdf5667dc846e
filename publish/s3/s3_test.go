package s3_test

import (
	"flag"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/aws/aws-sdk-go-v2/credentials"

	"github.com/qsync/qsync/publish"
	"github.com/qsync/qsync/publish/s3"
	"github.com/qsync/qsync/publish/targettest"
	"github.com/qsync/qsync/scripts/s3server"
)

// options are those of a bucket that is there.
func options(server *s3server.Server) s3.Options {
	return s3.Options{
		Bucket: server.Bucket, Region: server.Region, Endpoint: server.Endpoint,
		Credentials: credentials.NewStaticCredentialsProvider(server.AccessKey, server.SecretKey, ""),
	}
}

func open(t *testing.T, o s3.Options) *s3.Target {
	t.Helper()
	target, err := s3.New(o)
	if err != nil {
		t.Fatal(err)
	}
	return target
}

var allFaults = flag.Bool("all-faults", false, "try every fault of the suite, for two minutes")

// faults are those of the suite's many that are tried without the flag: they
// happen above the target, and all have been tried over a directory.
var faults = []string{
	"PublishFaults/NextVersion/Applied", "PruneFaults/Cancelled",
}

func TestTarget(t *testing.T) {
	t.Parallel()
	next := prefixes(options(s3server.Start(t)), faults)
	targettest.Run(t, func(t *testing.T) publish.Target { return open(t, next(t)) })
}

func TestFiles(t *testing.T) {
	t.Parallel()
	next := prefixes(options(s3server.Start(t)), nil)
	targettest.RunFiles(t, func(t *testing.T) *s3.Files { return openFiles(t, next(t)) }, func(t *testing.T) publish.Target { return open(t, next(t)) })
}

// prefixes gives each target a prefix of its own, and leaves out the faults but some.
func prefixes(o s3.Options, faults []string) func(t *testing.T) s3.Options {
	var n atomic.Int64
	return func(t *testing.T) s3.Options {
		_, name, _ := strings.Cut(t.Name(), "/")
		if strings.Contains(name, "Faults/") && !*allFaults && (testing.Short() || !slices.Contains(faults, name)) {
			t.Skip("tried over a directory")
		}
		o := o
		o.Prefix = fmt.Sprintf("targets/%d", n.Add(1))
		return o
	}
}
