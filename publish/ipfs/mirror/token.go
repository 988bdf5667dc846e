package mirror

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"strings"
)

// token is a secret that is sent to a mirror and to nobody else.
type token string

// maxToken is more than any server gives out.
const maxToken = 16 << 10

// readToken reads the token in a file that nobody but its owner can read. Without
// a file there is none. Its errors say nothing of the content.
func readToken(file string) (token, error) {
	if file == "" {
		return "", nil
	}
	f, err := os.Open(file)
	if err != nil {
		return "", fmt.Errorf("read the token: %w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return "", fmt.Errorf("read the token: %w", err)
	}
	if mode := info.Mode().Perm(); mode&0o077 != 0 {
		return "", &adviceError{fmt.Errorf("read the token: %s can be read by others, its mode is %#o", file, mode), "chmod 600 " + file}
	}
	text, err := io.ReadAll(io.LimitReader(f, maxToken+1))
	if err != nil {
		return "", fmt.Errorf("read the token: %w", err)
	}
	text = bytes.TrimSpace(text)
	if len(text) == 0 || len(text) > maxToken || bytes.ContainsFunc(text, func(r rune) bool { return r < ' ' || r > '~' }) {
		return "", &adviceError{fmt.Errorf("read the token: %s is not one line of plain characters", file), "write the token alone into it, without quotes"}
	}
	return token(text), nil
}

// String keeps it out of what is printed.
func (token) String() string { return "[token]" }

// GoString likewise.
func (t token) GoString() string { return t.String() }

// blot takes the token out of a text of the server, which may say it again, and what
// could trouble a terminal.
func (t token) blot(text string) string {
	if t != "" {
		text = strings.ReplaceAll(text, string(t), t.String())
		if _, secret, ok := strings.Cut(string(t), ":"); ok && secret != "" {
			text = strings.ReplaceAll(text, secret, t.String())
		}
	}
	text = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r >= 0x80 && r < 0xa0 {
			return ' '
		}
		return r
	}, text)
	const most = 500
	if len(text) > most {
		text = strings.ToValidUTF8(text[:most], "") + "…"
	}
	return strings.TrimSpace(text)
}
