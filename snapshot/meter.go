package snapshot

import "sync"

// meter adds up the progress of all workers and tells it on.
type meter struct {
	mu   sync.Mutex
	now  Progress
	tell func(Progress)
}

func (m *meter) add(p Progress) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.now.DoneBytes += p.DoneBytes
	m.now.ReadBytes += p.ReadBytes
	m.now.ReusedBytes += p.ReusedBytes
	m.now.StoredBytes += p.StoredBytes
	if m.tell != nil {
		m.tell(m.now)
	}
}
