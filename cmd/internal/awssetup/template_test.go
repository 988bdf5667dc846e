package awssetup

import (
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/qsync/qsync/publish/cloudfront/cloudfronttest"
)

const templateFile = "../../../scripts/aws/qsync.yaml"

// template is the CloudFormation template with values for its parameters.
type template struct {
	root       *yaml.Node
	parameters map[string]string
	region     string
}

func readTemplate(t *testing.T) *yaml.Node {
	t.Helper()
	text, err := os.ReadFile(templateFile)
	if err != nil {
		t.Fatal(err)
	}
	var document yaml.Node
	if err := yaml.Unmarshal(text, &document); err != nil {
		t.Fatal(err)
	}
	return document.Content[0]
}

// child is the value of a key of a mapping, nil if it has none.
func child(n *yaml.Node, key string) *yaml.Node {
	for i := 0; n != nil && i+1 < len(n.Content); i += 2 {
		if n.Content[i].Value == key {
			return n.Content[i+1]
		}
	}
	return nil
}

// noValue takes the place of what CloudFormation leaves out.
var noValue = new(int)

// eval is what CloudFormation makes of a node: texts, lists and maps. A resource
// that is referred to is its name in brackets.
func (t *template) eval(n *yaml.Node) (any, error) {
	switch n.Tag {
	case "!Ref":
		return t.reference(n.Value)
	case "!GetAtt":
		return t.attribute(n.Value)
	case "!Sub":
		return t.substitute(n.Value)
	case "!If":
		is, err := t.condition(n.Content[0].Value)
		if err != nil {
			return nil, err
		}
		if is {
			return t.eval(n.Content[1])
		}
		return t.eval(n.Content[2])
	case "!Equals", "!Not", "!And", "!Or":
		return nil, fmt.Errorf("%s is for conditions", n.Tag)
	}
	switch n.Kind {
	case yaml.ScalarNode:
		return n.Value, nil
	case yaml.SequenceNode:
		list := []any{}
		for _, c := range n.Content {
			v, err := t.eval(c)
			if err != nil {
				return nil, err
			}
			if v != any(noValue) {
				list = append(list, v)
			}
		}
		return list, nil
	}
	m := map[string]any{}
	for i := 0; i < len(n.Content); i += 2 {
		v, err := t.eval(n.Content[i+1])
		if err != nil {
			return nil, err
		}
		if v != any(noValue) {
			m[n.Content[i].Value] = v
		}
	}
	return m, nil
}

func (t *template) reference(name string) (any, error) {
	if name == "AWS::NoValue" {
		return noValue, nil
	}
	if v, ok := map[string]string{"AWS::AccountId": cloudfronttest.Account, "AWS::Region": t.region}[name]; ok {
		return v, nil
	}
	if child(child(t.root, "Parameters"), name) != nil {
		return t.parameters[name], nil
	}
	resource := child(child(t.root, "Resources"), name)
	if resource == nil {
		return nil, fmt.Errorf("there is no %s to refer to", name)
	}
	if child(resource, "Type").Value == "AWS::S3::Bucket" {
		return t.eval(child(child(resource, "Properties"), "BucketName"))
	}
	return "<" + name + ">", nil
}

func (t *template) attribute(path string) (any, error) {
	name, attribute, _ := strings.Cut(path, ".")
	v, err := t.reference(name)
	if err != nil {
		return nil, err
	}
	switch attribute {
	case "Id":
		return v, nil
	case "RegionalDomainName":
		return fmt.Sprintf("%s.s3.%s.amazonaws.com", v, t.region), nil
	case "Arn":
		return fmt.Sprintf("arn of %s", v), nil
	}
	return nil, fmt.Errorf("%s: attribute %q is not known", path, attribute)
}

var placeholder = regexp.MustCompile(`\$\{([^}]*)\}`)

func (t *template) substitute(text string) (any, error) {
	var failed error
	return placeholder.ReplaceAllStringFunc(text, func(s string) string {
		name := strings.Trim(s, "${}")
		v, err := t.reference(name)
		if strings.Contains(name, ".") {
			v, err = t.attribute(name)
		}
		if err != nil {
			failed = err
		}
		return fmt.Sprint(v)
	}), failed
}

func (t *template) condition(name string) (bool, error) {
	n := child(child(t.root, "Conditions"), name)
	if n == nil {
		return false, fmt.Errorf("there is no condition %s", name)
	}
	return t.holds(n)
}

func (t *template) holds(n *yaml.Node) (bool, error) {
	switch n.Tag {
	case "!Not":
		is, err := t.holds(n.Content[0])
		return !is, err
	case "!Equals":
		a, err := t.eval(n.Content[0])
		if err != nil {
			return false, err
		}
		b, err := t.eval(n.Content[1])
		return a == b, err
	}
	return false, fmt.Errorf("%s is not known", n.Tag)
}

// helpers are the template's resources that the command has no need of, since it can
// call what CloudFormation cannot.
var helpers = []string{"RequestPaymentRole", "RequestPaymentFunction"}

// settings are those of all resources that the template makes, by resource and
// path.
func (t *template) settings() (map[string]string, error) {
	all := map[string]string{}
	resources := child(t.root, "Resources")
	for i := 0; i < len(resources.Content); i += 2 {
		name, r := resources.Content[i].Value, resources.Content[i+1]
		if c := child(r, "Condition"); c != nil {
			if is, err := t.condition(c.Value); err != nil {
				return nil, err
			} else if !is {
				continue
			}
		}
		if slices.Contains(helpers, name) {
			continue
		}
		v, err := t.eval(child(r, "Properties"))
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		properties := v.(map[string]any)
		switch name {
		case "RequestPayment":
			delete(properties, "ServiceToken")
		case "AgentPolicy":
			delete(properties, "Description")
		}
		spread(name, v, all)
	}
	return all, nil
}

// spread lists the texts in a value. Lists of texts have no order; empty lists, and
// maps that only wrap a list, are none.
func spread(at string, v any, all map[string]string) {
	switch v := v.(type) {
	case map[string]any:
		if list, ok := v["Items"]; ok && len(v) == 1 {
			spread(at, list, all)
			return
		}
		for key, value := range v {
			spread(at+"."+key, value, all)
		}
	case []any:
		words := []string{}
		for i, item := range v {
			if word, ok := item.(string); ok {
				words = append(words, word)
				continue
			}
			spread(fmt.Sprintf("%s[%d]", at, i), item, all)
		}
		if len(words) > 0 {
			slices.Sort(words)
			all[at] = strings.Join(words, ", ")
		}
	case string:
		all[at] = strings.TrimSpace(v)
	}
}
