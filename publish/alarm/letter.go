package alarm

import (
	"fmt"
	"html"
	"strings"
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

const adviceTitle = "What to do"

// Mail is the letter as a mail.
func (l *Letter) Mail(id string, now time.Time) *Mail {
	// A line break in it would be a header of its own.
	subject := strings.Join(strings.Fields(l.Subject), " ")
	return &Mail{ID: id, Time: now.UTC().Truncate(time.Second), Subject: subject, Text: l.text(), HTML: l.html()}
}

// nameWidth is that of the names of facts in plain text.
const nameWidth = 24

func (l *Letter) text() string {
	var b strings.Builder
	facts := func(indent string, all []Fact) {
		for _, f := range all {
			fmt.Fprintf(&b, "%s%-*s %s\n", indent, nameWidth, f.Name, f.Value)
		}
	}
	for _, s := range l.Lead {
		fmt.Fprintln(&b, s)
	}
	if len(l.Facts) > 0 {
		fmt.Fprintln(&b)
		facts("", l.Facts)
	}
	for _, t := range l.Tables {
		fmt.Fprintf(&b, "\n%s\n", t.Title)
		facts("  ", t.Rows)
	}
	if len(l.Advice) > 0 {
		fmt.Fprintf(&b, "\n%s\n", adviceTitle)
		for _, a := range l.Advice {
			fmt.Fprintf(&b, "- %s\n", a)
		}
	}
	fmt.Fprintf(&b, "\n-- \nqsyncd of %s\n", l.Sender)
	return b.String()
}

// html has no use for html/template: templates call methods by their names, which keeps
// the linker from leaving out any, and makes the program twice as large.
func (l *Letter) html() string {
	var b strings.Builder
	write := func(format string, texts ...string) {
		escaped := make([]any, len(texts))
		for i, t := range texts {
			escaped[i] = html.EscapeString(t)
		}
		fmt.Fprintf(&b, format, escaped...)
	}
	facts := func(all []Fact) {
		write("<table cellpadding=\"4\">\n")
		for _, f := range all {
			write("<tr><th scope=\"row\" align=\"left\" valign=\"top\">%s</th><td>%s</td></tr>\n", f.Name, f.Value)
		}
		write("</table>\n")
	}
	const title = "<h2 style=\"font-size: 1em\">%s</h2>\n"
	write(`<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<meta name="color-scheme" content="light dark">
<title>%s</title>
</head>
<body style="font-family: sans-serif; line-height: 1.5; max-width: 40em">
`, l.Subject)
	for _, s := range l.Lead {
		write("<p>%s</p>\n", s)
	}
	if len(l.Facts) > 0 {
		facts(l.Facts)
	}
	for _, t := range l.Tables {
		write(title, t.Title)
		facts(t.Rows)
	}
	if len(l.Advice) > 0 {
		write(title, adviceTitle)
		write("<ul>\n")
		for _, a := range l.Advice {
			write("<li>%s</li>\n", a)
		}
		write("</ul>\n")
	}
	write("<p><small>qsyncd of %s</small></p>\n</body>\n</html>\n", l.Sender)
	return b.String()
}
