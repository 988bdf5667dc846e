package awssetup

import (
	"math"
	"testing"
)

func TestTransferUSD(t *testing.T) {
	// 1 TiB is free, 9 cost the first price and the last one the second.
	for bytes, want := range map[int64]float64{0: 0, 1 << 40: 0, 11 << 40: 9*1024*0.085 + 1024*0.080} {
		if got := TransferUSD(bytes); math.Abs(got-want) > 0.001 {
			t.Errorf("%d bytes cost %f, want %f", bytes, got, want)
		}
	}
}
