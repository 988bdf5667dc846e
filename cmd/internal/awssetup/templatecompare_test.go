package awssetup

import (
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

// disagreements are what is not the same in both, either way.
func disagreements(t *template, s *sent) (all []Difference) {
	ours, err := s.settings()
	if err != nil {
		return []Difference{{"the command", err.Error(), ""}}
	}
	theirs, err := t.settings()
	if err != nil {
		return []Difference{{"the template", err.Error(), ""}}
	}
	for key := range ours {
		if _, both := theirs[key]; !both {
			theirs[key] = "(nothing)"
		}
	}
	for key := range theirs {
		if _, both := ours[key]; !both {
			ours[key] = "(nothing)"
		}
	}
	return compareSettings(ours, theirs)
}

// variants are plans with the parameters that say the same.
func variants() map[string]struct {
	plan       *Plan
	parameters map[string]string
} {
	full := fullPlan()
	full.CDN.Prefix, full.Raw.Region = "mirrors/qsync", full.CDN.Region
	full.WatchTraffic, full.Logs, full.MailFrom = true, []string{"polka-logs"}, "qsync@example.org"
	least := &Plan{CDN: &Bucket{Name: "polka-cdn", Region: "us-east-1"}}
	return map[string]struct {
		plan       *Plan
		parameters map[string]string
	}{
		"everything": {full, map[string]string{
			"CDNBucketName": "polka-cdn", "RawBucketName": "polka-raw", "Prefix": "mirrors/qsync", "PriceClass": "PriceClass_200",
			"Alias": full.Alias, "CertificateArn": full.Certificate, "PublicKey": publicKey,
			"WatchTraffic": "yes", "LogsBucketName": "polka-logs", "MailFrom": "qsync@example.org",
		}},
		"least": {least, map[string]string{"CDNBucketName": "polka-cdn"}},
	}
}

// withDefaults fills in the parameters' defaults.
func withDefaults(root *yaml.Node, given map[string]string) map[string]string {
	all := map[string]string{}
	parameters := child(root, "Parameters")
	for i := 0; i < len(parameters.Content); i += 2 {
		name := parameters.Content[i].Value
		if d := child(parameters.Content[i+1], "Default"); d != nil {
			all[name] = d.Value
		}
		if v, ok := given[name]; ok {
			all[name] = v
		}
	}
	return all
}

// TestTemplate: the template and the command make the same, setting by setting.
func TestTemplate(t *testing.T) {
	root := readTemplate(t)
	for name, v := range variants() {
		tmpl := &template{root, withDefaults(root, v.parameters), v.plan.CDN.Region}
		for _, d := range disagreements(tmpl, capture(t, v.plan)) {
			t.Errorf("%s: %s is %q in the template, and %q by the command", name, d.Setting, d.Is, d.Want)
		}
	}
}

// TestTemplateChanged changes each value of the template, and each that the command
// sends, in turn: the comparison must notice.
func TestTemplateChanged(t *testing.T) {
	root := readTemplate(t)
	type pair struct {
		*template
		*sent
	}
	var pairs []pair
	for _, v := range variants() {
		pairs = append(pairs, pair{&template{root, withDefaults(root, v.parameters), v.plan.CDN.Region}, capture(t, v.plan)})
	}
	noticed := func() bool {
		return slices.ContainsFunc(pairs, func(p pair) bool { return len(disagreements(p.template, p.sent)) > 0 })
	}
	if noticed() {
		t.Fatal("they do not agree in the first place")
	}
	changed := 0
	resources := child(root, "Resources")
	for i := 0; i < len(resources.Content); i += 2 {
		name := resources.Content[i].Value
		if slices.Contains(helpers, name) {
			continue
		}
		for _, n := range scalars(child(resources.Content[i+1], "Properties")) {
			was := n.Value
			n.Value = spoil(was)
			if changed++; !noticed() && n.Value != "RequestPaymentFunction.Arnx" && !strings.HasPrefix(was, "What the qsync agent") {
				t.Errorf("%s: line %d of the template can be %q", name, n.Line, n.Value)
			}
			n.Value = was
		}
	}
	for _, p := range pairs {
		for key, tree := range p.trees {
			for _, leaf := range leaves("", tree) {
				n := leafAt(tree, leaf)
				if n.Name() == "Quantity" || n.Name() == "CallerReference" && key == "Distribution" {
					continue
				}
				was := n.Text
				n.Text = spoil(was)
				if changed++; len(disagreements(p.template, p.sent)) == 0 {
					t.Errorf("the command can send %s%s as %q", key, leaf, n.Text)
				}
				n.Text = was
			}
		}
		for name, text := range p.texts {
			for _, at := range regexp.MustCompile(`"[^"]+"`).FindAllStringIndex(text, -1) {
				p.texts[name] = text[:at[1]-1] + "x" + text[at[1]-1:]
				if changed++; len(disagreements(p.template, p.sent)) == 0 {
					t.Errorf("the command can send %s as %s", name, p.texts[name])
				}
			}
			p.texts[name] = text
		}
	}
	t.Logf("%d values were changed", changed)
	if changed < 500 {
		t.Errorf("only %d values were changed", changed)
	}
}

// scalars are the values below a node.
func scalars(n *yaml.Node) (all []*yaml.Node) {
	switch n.Kind {
	case yaml.ScalarNode:
		return []*yaml.Node{n}
	case yaml.MappingNode:
		for i := 1; i < len(n.Content); i += 2 {
			all = append(all, scalars(n.Content[i])...)
		}
	case yaml.SequenceNode:
		for _, c := range n.Content {
			all = append(all, scalars(c)...)
		}
	}
	return all
}
