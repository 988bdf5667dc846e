//go:build !amd64 || purego

package sha256x2

const supported = false

func blocks(_, _ *state, _, _ *byte, _ int) { panic("not supported") }
