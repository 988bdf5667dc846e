package browser

import (
	"slices"
	"strings"
	"testing"
)

const good = `<!DOCTYPE html><html lang="en"><head><meta charset="utf-8"><title>A page</title>
<meta name="viewport" content="width=device-width"><link rel="icon" href="data:,">
<style>a:focus-visible{outline:3px solid}body{background:#fff;color:#222}</style></head><body>
<header><h1>A page that all can read</h1></header><main><p>It has <a href="#x">a link</a>, and nothing moves on it.</p></main>
<footer>The end of the page.</footer></body></html>`

// TestLook: nothing is wrong with a good page, and each thing that is spoilt is found.
func TestLook(t *testing.T) {
	spoilt, refused := good, strings.Replace(good, "<title>", `<meta http-equiv="Content-Security-Policy" content="default-src 'none'"><title>`, 1)
	var wanted []string
	for _, c := range []struct{ old, new, says string }{
		{"color:#222", "color:#999", "text of <p> has a contrast of 2.85"},
		{"</main>", "</main><p style='width:1300px'>wide</p>", "it scrolls sideways: 13"},
		{"</main>", "</main><p onclick='x()'>p</p>", "<p> has code in onclick"},
		{"</main>", "</main><svg></svg>", "<svg> has no text in its place"},
		{"<footer>", "<div>", "those who listen find no contentinfo"},
		{"outline:3px solid", "outline:none", "what has the focus does not show it"},
		{"</main>", "</main><img alt='x' src='/other.png'>", "it asks for http"},
		{"<main>", "<main style='animation:m .1s forwards'><style>@keyframes m{to{margin-top:300px}}</style>", "what is shown moves by 0."},
		{"<h1>A", "<h1 id='x'>A <i id='x'></i>", "id x comes twice"},
	} {
		spoilt = strings.Replace(spoilt, c.old, c.new, 1)
		wanted = append(wanted, "spoilt at 320 px: "+c.says, "spoilt at 320 px, light: "+c.says, "spoilt: "+c.says)
	}
	faults := Look(t, map[string][]byte{"good": []byte(good), "spoilt": []byte(spoilt), "refused": []byte(refused)})
	all := strings.Join(faults, "\n")
	if strings.Contains(all, "good") {
		t.Error(all)
	}
	if !strings.Contains(all, "refused at 320 px: the browser says: Applying inline style violates") {
		t.Errorf("a style that the policy refuses is not found:\n%s", all)
	}
	for i := 0; i < len(wanted); i += 3 {
		if !slices.ContainsFunc(wanted[i:i+3], func(w string) bool { return strings.Contains(all, w) }) {
			t.Errorf("not found: %s\n%s", wanted[i], all)
		}
	}
}
