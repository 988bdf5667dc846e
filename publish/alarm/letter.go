package alarm

import (
	_ "embed"
	"html/template"
	"strings"
	texttemplate "text/template"
	"time"
)

// Letter is what a mail says. Both its forms, plain text and HTML, say the same.
type Letter struct {
	Subject string
	Lead    []string // sentences
	Facts   []Fact
	Tables  []Table
	Advice  []string // what to do
	Sender  string   // who says so: the publisher
}

// Fact is a value with its name.
type Fact struct{ Name, Value string }

// Table is a list of values under a title.
type Table struct {
	Title string
	Rows  []Fact
}

//go:embed letter.html
var letterHTML string

//go:embed letter.txt
var letterText string

var (
	htmlForm = template.Must(template.New("html").Parse(letterHTML))
	textForm = texttemplate.Must(texttemplate.New("text").Funcs(texttemplate.FuncMap{"pad": pad}).Parse(letterText))
)

// Mail is the letter as a mail.
func (l *Letter) Mail(id string, now time.Time) (*Mail, error) {
	var text, html strings.Builder
	if err := textForm.Execute(&text, l); err != nil {
		return nil, err
	}
	if err := htmlForm.Execute(&html, l); err != nil {
		return nil, err
	}
	// A line break in it would be a header of its own.
	subject := strings.Join(strings.Fields(l.Subject), " ")
	return &Mail{ID: id, Time: now.UTC().Truncate(time.Second), Subject: subject, Text: text.String(), HTML: html.String()}, nil
}

// nameWidth is that of the names of facts in plain text.
const nameWidth = 24

func pad(s string) string {
	return s + strings.Repeat(" ", max(1, nameWidth-len([]rune(s))))
}
