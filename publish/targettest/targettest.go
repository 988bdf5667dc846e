// Package targettest is what every publish.Target must pass.
//
// Run tests the contract of the methods, then whole publications over the
// target, with a fault at every single operation. What it cannot see is
// durability: that what Put and Swap stored survives the loss of power. A
// target has to argue for that by itself.
package targettest

import (
	"testing"

	"github.com/qsync/qsync/publish"
)

// Run tests a kind of target. newTarget returns one that is empty each time; it
// is called about two thousand times.
func Run(t *testing.T, newTarget func(t *testing.T) publish.Target) {
	for _, c := range []struct {
		name string
		test func(t *testing.T, newTarget func(t *testing.T) publish.Target)
	}{
		{"Put", testPut},
		{"PutRenews", testPutRenews},
		{"PutReplacesBroken", testPutReplacesBroken},
		{"PutConcurrently", testPutConcurrently},
		{"Read", testRead},
		{"List", testList},
		{"Delete", testDelete},
		{"Keys", testKeys},
		{"Cancelled", testCancelled},
		{"Swap", testSwap},
		{"SwapConcurrently", testSwapConcurrently},
		{"UploadOrder", testUploadOrder},
		{"TwoAgents", testTwoAgents},
		{"PublishFaults", testPublishFaults},
		{"DropFaults", testDropFaults},
		{"PruneFaults", testPruneFaults},
	} {
		t.Run(c.name, func(t *testing.T) { c.test(t, newTarget) })
	}
}
