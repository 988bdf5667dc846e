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
		{"Replace", testReplace},
		{"ReplaceConcurrently", testReplaceConcurrently},
		{"Read", testRead},
		{"List", testList},
		{"Delete", testDelete},
		{"Keys", testKeys},
		{"Cancelled", testCancelled},
		{"Swap", testSwap},
		{"SwapConcurrently", testSwapConcurrently},
		{"UploadOrder", testUploadOrder},
		{"TwoAgents", testTwoAgents},
	} {
		t.Run(c.name, func(t *testing.T) { c.test(t, newTarget) })
	}
	runFaults(t, func(t *testing.T) *Stage { return NewStage(t, newTarget(t), newTarget(t)) })
}

// RunFiles tests a kind of target that is one of files, beyond Run. newSegments
// returns a target, empty each time, to which those who publish send segments.
func RunFiles[F interface {
	publish.Target
	publish.Files
}](t *testing.T, newFiles func(t *testing.T) F, newSegments func(t *testing.T) publish.Target) {
	for _, c := range []struct {
		name string
		test func(t *testing.T, target filesTarget)
	}{
		{"Assemble", testAssemble},
		{"AssembleReplaces", testAssembleReplaces},
		{"AssembleFails", testAssembleFails},
		{"Copy", testCopy},
		{"CopyReplaces", testCopyReplaces},
	} {
		t.Run(c.name, func(t *testing.T) { c.test(t, newFiles(t)) })
	}
	newStage := func(t *testing.T) *Stage { return NewStage(t, newSegments(t), newFiles(t)) }
	t.Run("UploadOrder", func(t *testing.T) { testFilesOrder(t, newSegments(t), newFiles(t)) })
	t.Run("TwoAgents", func(t *testing.T) { testFilesTwoAgents(t, newSegments(t), newFiles(t)) })
	if !testing.Short() {
		runFaults(t, newStage)
	}
}

func runFaults(t *testing.T, newStage func(t *testing.T) *Stage) {
	for _, c := range []struct {
		name string
		test func(t *testing.T, newStage func(t *testing.T) *Stage)
	}{
		{"PublishFaults", testPublishFaults},
		{"DropFaults", testDropFaults},
		{"PruneFaults", testPruneFaults},
	} {
		t.Run(c.name, func(t *testing.T) { c.test(t, newStage) })
	}
}
