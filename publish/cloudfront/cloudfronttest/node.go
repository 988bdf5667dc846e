package cloudfronttest

import (
	"encoding/xml"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// Node is an XML element as it goes over the wire. What CloudFront is given and
// what it answers have the same form, so that a double need not know it.
type Node struct {
	XMLName  xml.Name
	Text     string  `xml:",chardata"`
	Children []*Node `xml:",any"`
}

// New returns an element with children, or with a text.
func New(name string, content ...any) *Node {
	n := &Node{XMLName: xml.Name{Local: name}}
	for _, c := range content {
		if child, ok := c.(*Node); ok {
			n.Children = append(n.Children, child)
		} else {
			n.Text += fmt.Sprint(c)
		}
	}
	return n
}

// Parse reads an element.
func Parse(r io.Reader) (*Node, error) {
	n := &Node{}
	if err := xml.NewDecoder(r).Decode(n); err != nil {
		return nil, err
	}
	n.strip()
	return n, nil
}

// strip drops name spaces, and the white space between elements.
func (n *Node) strip() {
	n.XMLName.Space = ""
	if len(n.Children) > 0 {
		n.Text = ""
	}
	for _, c := range n.Children {
		c.strip()
	}
}

// Name is the element's name.
func (n *Node) Name() string { return n.XMLName.Local }

// Find returns the first element at a path like Origins/Items/Origin, nil if there
// is none.
func (n *Node) Find(path string) *Node {
	for name := range strings.SplitSeq(path, "/") {
		if n == nil {
			return nil
		}
		var found *Node
		for _, c := range n.Children {
			if c.Name() == name {
				found = c
				break
			}
		}
		n = found
	}
	return n
}

// Get is the text of the element at a path, empty if there is none.
func (n *Node) Get(path string) string {
	if n = n.Find(path); n == nil {
		return ""
	}
	return n.Text
}

// Set gives the child of that name a text, and makes it if there is none.
func (n *Node) Set(name, text string) {
	if c := n.Find(name); c != nil {
		c.Text = text
		return
	}
	n.Children = append(n.Children, New(name, text))
}

// Clone is a copy that shares nothing.
func (n *Node) Clone() *Node {
	c := &Node{XMLName: n.XMLName, Text: n.Text}
	for _, child := range n.Children {
		c.Children = append(c.Children, child.Clone())
	}
	return c
}

// Walk calls fn for the element and all below it.
func (n *Node) Walk(fn func(*Node)) {
	fn(n)
	for _, c := range n.Children {
		c.Walk(fn)
	}
}

// list is a list as CloudFront writes it.
func list(name string, items ...*Node) *Node {
	n := New(name, New("MaxItems", 100), New("Quantity", len(items)))
	if len(items) > 0 {
		n.Children = append(n.Children, New("Items"))
		n.Find("Items").Children = items
	}
	return n
}

// checkQuantities reports the first list that does not have as many items as it
// says, which CloudFront refuses.
func (n *Node) checkQuantities() (err error) {
	n.Walk(func(n *Node) {
		quantity := n.Find("Quantity")
		if quantity == nil {
			return
		}
		items := 0
		if list := n.Find("Items"); list != nil {
			items = len(list.Children)
		}
		if want, convErr := strconv.Atoi(quantity.Text); convErr != nil || want != items {
			err = fmt.Errorf("%s: Quantity is %s, and there are %d items", n.Name(), quantity.Text, items)
		}
	})
	return err
}
