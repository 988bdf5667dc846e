package manifest

import (
	"encoding/hex"
	"fmt"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// FORMAT.md is the specification; what it shows must be so.

func readFormat(t *testing.T) string {
	t.Helper()
	b, err := os.ReadFile("FORMAT.md")
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestFormatSamples(t *testing.T) {
	samples := regexp.MustCompile("(?s)<!-- (hex )?(testdata/\\S+) -->\n```\n(.*?)```").FindAllStringSubmatch(readFormat(t), -1)
	if len(samples) != 6 {
		t.Errorf("FORMAT.md has %d samples, want 6", len(samples))
	}
	for _, sample := range samples {
		want, err := os.ReadFile(sample[2])
		if err != nil {
			t.Error(err)
			continue
		}
		got := sample[3]
		if sample[1] != "" {
			b, err := hex.DecodeString(strings.NewReplacer(" ", "", "\n", "").Replace(got))
			if err != nil {
				t.Error(err)
			}
			got = string(b)
		}
		if got != string(want) {
			t.Errorf("FORMAT.md shows %s as\n%s", sample[2], got)
		}
	}
}

func TestFormatLimits(t *testing.T) {
	limits := map[string]int64{
		"MaxHeadSize": MaxHeadSize, "MaxCatalogSize": MaxCatalogSize, "MaxKeysSize": MaxKeysSize, "MaxManifestSize": MaxManifestSize,
		"MaxIndexSize": MaxIndexSize, "MaxIndexRawSize": MaxIndexRawSize, "MaxIndexWindow": MaxIndexWindow, "MaxSnapshots": MaxSnapshots,
		"MaxChannels": MaxChannels, "MaxKeys": MaxKeys, "MaxKeyName": MaxKeyName, "MaxChannelName": MaxChannelName, "MaxFiles": MaxFiles,
		"MaxFileSize": MaxFileSize, "MaxRawSize": MaxRawSize, "MaxPathLength": MaxPathLength, "MaxNameLength": MaxNameLength,
		"MaxPathDepth": MaxPathDepth, "MaxTextLength": MaxTextLength, "MaxURLLength": MaxURLLength, "MaxSequence": MaxSequence,
		"ChunkSize": ChunkSize, "SegmentChunks": SegmentChunks, "MinTailChunks": MinTailChunks, "MaxSegmentChunks": MaxSegmentChunks,
		"MaxFrameSize": MaxFrameSize,
	}
	rows := regexp.MustCompile("(?m)^\\| `([A-Z]\\w+)` \\| (\\d+) \\|").FindAllStringSubmatch(readFormat(t), -1)
	for _, row := range rows {
		if row[2] != strconv.FormatInt(limits[row[1]], 10) {
			t.Errorf("FORMAT.md says that %s is %s, the code %d", row[1], row[2], limits[row[1]])
		}
		delete(limits, row[1])
	}
	if len(limits) > 0 {
		t.Errorf("FORMAT.md does not give %v", limits)
	}
}

func TestFormatSegments(t *testing.T) {
	_, section, _ := strings.Cut(readFormat(t), "| chunks | segments |\n| --- | --- |\n")
	section, _, _ = strings.Cut(section, "\n\n")
	rows := strings.Split(strings.TrimSpace(section), "\n")
	if len(rows) < 5 {
		t.Errorf("FORMAT.md has %d examples of segments", len(rows))
	}
	for _, row := range rows {
		cells := strings.Split(row, "|")
		chunks, err := strconv.ParseInt(strings.TrimSpace(cells[1]), 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		var lengths []string
		for i := range SegmentCount(chunks) {
			_, n := SegmentSpan(chunks, i)
			lengths = append(lengths, fmt.Sprint(n))
		}
		if got := strings.Join(lengths, ", "); got != strings.TrimSpace(cells[2]) {
			t.Errorf("FORMAT.md cuts %d chunks into %s, the code into %s", chunks, cells[2], got)
		}
	}
	if zeros := Sum(make([]byte, ChunkSize)).String(); !strings.Contains(readFormat(t), zeros) {
		t.Errorf("FORMAT.md has another digest of zeros than %s", zeros)
	}
}
