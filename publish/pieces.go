package publish

import (
	"bytes"

	"github.com/qsync/qsync/manifest"
)

const (
	// unitChunks is how much of a file is sent at once, for it is in memory, and of
	// one that changed in places at least. S3 takes parts of 5 MiB or more.
	unitChunks = 8
	// maxPieces is half of what S3 makes an object of. Where there would be more,
	// units are larger.
	maxPieces = 5000
)

// sameContent reports whether two files have the same bytes. before may be nil.
func sameContent(now, before *manifest.File) bool {
	return before != nil && now.Size == before.Size && bytes.Equal(now.Chunks, before.Chunks)
}

// pieces are what a file is made of where the file before lies at the key from:
// of what stands at the same place in both, and of content. before may be nil.
func pieces(now, before *manifest.File, from string) []Piece {
	for unit := unitChunks; ; unit *= 2 {
		all := piecesOf(now, before, from, unit)
		if len(all) <= maxPieces {
			return all
		}
	}
}

func piecesOf(now, before *manifest.File, from string, unit int) []Piece {
	var all []Piece
	for first := 0; first < now.ChunkCount(); first += unit {
		end := min(first+unit, now.ChunkCount())
		p := Piece{Offset: int64(first) * manifest.ChunkSize}
		p.Length = min(int64(end)*manifest.ChunkSize, now.Size) - p.Offset
		if before != nil && end <= before.ChunkCount() &&
			bytes.Equal(now.Chunks[first*manifest.DigestSize:end*manifest.DigestSize], before.Chunks[first*manifest.DigestSize:end*manifest.DigestSize]) {
			p.From = from
		}
		if last := len(all) - 1; last >= 0 && p.From != "" && all[last].From == p.From {
			all[last].Length += p.Length
		} else {
			all = append(all, p)
		}
	}
	return all
}

// sentBytes are those of the pieces that are not copied.
func sentBytes(all []Piece) (n int64) {
	for _, p := range all {
		if p.From == "" {
			n += p.Length
		}
	}
	return n
}
