package status

import (
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
)

// style is that of the status page and of the report.
//
//go:embed style.css
var style string

// policy is the Content-Security-Policy of both.
var policy = "default-src 'none'; style-src 'sha256-" + styleDigest() + "'; img-src data:; base-uri 'none'; form-action 'none'"

func styleDigest() string {
	sum := sha256.Sum256([]byte(style))
	return base64.StdEncoding.EncodeToString(sum[:])
}
