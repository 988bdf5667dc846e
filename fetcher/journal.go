package fetcher

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"sync"

	"github.com/qsync/qsync/manifest"
)

// The journal is a line that names the index, then records of 16 bytes:
// kind, first chunk, number of chunks, CRC-32C of the twelve bytes before, all
// little-endian. Chunks are numbered through the whole index. A record is
// appended after the bytes it speaks of have been written, so that a killed
// process has lost nothing that the journal lists; only a durable mark, which
// follows an fdatasync, holds after a power cut too.
const (
	journalFormat = "qsync journal v1"
	recordSize    = 16
)

type markKind uint32

const (
	markWritten markKind = 1 // written and then listed: re-hash before believing it
	markDurable markKind = 2 // synced and then listed
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// journal is the durable record of which chunks are on disk.
type journal struct {
	mu   sync.Mutex
	file *os.File
}

func journalHeader(snapshot manifest.Digest, inPlace bool) string {
	return fmt.Sprintf("%s %s in-place=%t\n", journalFormat, snapshot, inPlace)
}

// createJournal replaces the journal of a work directory, durably and at once, by
// one that has marks for durable chunks and for written ones, nil if there are none.
func createJournal(w *workDir, header string, durable, written *chunkSet) (*journal, error) {
	b := []byte(header)
	durable.runs(func(first, count int64) { b = appendRecord(b, markDurable, first, count) })
	if written != nil {
		written.runs(func(first, count int64) { b = appendRecord(b, markWritten, first, count) })
	}
	if err := w.writeFile(journalName, b); err != nil {
		return nil, noSpace(err)
	}
	f, err := os.OpenFile(w.file(journalName), os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		return nil, fmt.Errorf("create journal: %w", err)
	}
	return &journal{file: f}, nil
}

// appendRecord appends the record of a mark for the chunks [first, first+count) to b.
func appendRecord(b []byte, kind markKind, first, count int64) []byte {
	begin := len(b)
	b = binary.LittleEndian.AppendUint32(b, uint32(kind))
	b = binary.LittleEndian.AppendUint32(b, uint32(first))
	b = binary.LittleEndian.AppendUint32(b, uint32(count))
	return binary.LittleEndian.AppendUint32(b, crc32.Checksum(b[begin:], castagnoli))
}

// mark appends a record for the chunks [first, first+count).
func (j *journal) mark(kind markKind, first, count int64) error {
	b := appendRecord(make([]byte, 0, recordSize), kind, first, count)
	j.mu.Lock()
	defer j.mu.Unlock()
	if _, err := j.file.Write(b); err != nil {
		return fmt.Errorf("write journal: %w", err)
	}
	return nil
}

func (j *journal) close() error { return j.file.Close() }

// errJournalForeign says that the journal is of another snapshot or another kind of restore.
var errJournalForeign = errors.New("journal is of another restore")

// readJournal gives each whole record to apply and stops at the first that is
// torn or damaged: what it would have said is found out by hashing or fetched
// again. The returned journal goes on behind the last good record.
func readJournal(path, header string, apply func(kind markKind, first, count int64)) (*journal, error) {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	good, err := replay(f, header, apply)
	if err == nil {
		err = f.Truncate(good)
	}
	if err == nil {
		_, err = f.Seek(good, io.SeekStart)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("read journal: %w", err), f.Close())
	}
	return &journal{file: f}, nil
}

// replay returns the length of the good part of the journal in r.
func replay(r io.Reader, header string, apply func(kind markKind, first, count int64)) (good int64, err error) {
	br := bufio.NewReaderSize(r, 256<<10)
	got := make([]byte, len(header))
	if _, err := io.ReadFull(br, got); err != nil || string(got) != header {
		return 0, errJournalForeign
	}
	good = int64(len(header))
	var b [recordSize]byte
	for {
		if _, err := io.ReadFull(br, b[:]); err != nil {
			if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
				return good, nil
			}
			return 0, err
		}
		if crc32.Checksum(b[:12], castagnoli) != binary.LittleEndian.Uint32(b[12:]) {
			return good, nil
		}
		apply(markKind(binary.LittleEndian.Uint32(b[:])),
			int64(binary.LittleEndian.Uint32(b[4:])), int64(binary.LittleEndian.Uint32(b[8:])))
		good += recordSize
	}
}
