package status

import (
	"fmt"
	"io"

	"golang.org/x/net/html"
)

// Pages are put together as trees: whatever a text or an attribute holds is escaped
// when the tree is written, and cannot become a tag. html/template would do that as
// well, and make the program twice as large.

// attr is an attribute of an element.
type attr struct{ name, value string }

func class(value string) attr { return attr{"class", value} }

// el is an element of its attributes (attr), texts (string) and elements (*html.Node,
// []*html.Node), in order. A nil element is left out.
func el(tag string, parts ...any) *html.Node {
	n := &html.Node{Type: html.ElementNode, Data: tag}
	add := func(child *html.Node) {
		if child != nil {
			n.AppendChild(child)
		}
	}
	for _, part := range parts {
		switch p := part.(type) {
		case attr:
			n.Attr = append(n.Attr, html.Attribute{Key: p.name, Val: p.value})
		case string:
			add(&html.Node{Type: html.TextNode, Data: p})
		case *html.Node:
			add(p)
		case []*html.Node:
			for _, child := range p {
				add(child)
			}
		default:
			panic(fmt.Sprintf("an element of a %T", part))
		}
	}
	return n
}

// document is a whole page. It may load nothing and run nothing, and no style but
// its own.
func document(title, icon string, body *html.Node) *html.Node {
	root := &html.Node{Type: html.DocumentNode}
	root.AppendChild(&html.Node{Type: html.DoctypeNode, Data: "html"})
	root.AppendChild(el("html", attr{"lang", "en"},
		el("head",
			el("meta", attr{"charset", "utf-8"}),
			el("meta", attr{"http-equiv", "Content-Security-Policy"}, attr{"content", policy}),
			el("meta", attr{"name", "viewport"}, attr{"content", "width=device-width, initial-scale=1"}),
			el("meta", attr{"name", "color-scheme"}, attr{"content", "light dark"}),
			el("meta", attr{"name", "referrer"}, attr{"content", "no-referrer"}),
			el("title", title),
			el("link", attr{"rel", "icon"}, attr{"href", icon}),
			el("style", style)),
		body))
	return root
}

func write(w io.Writer, root *html.Node) error {
	if err := html.Render(w, root); err != nil {
		return fmt.Errorf("write the page: %w", err)
	}
	return nil
}
