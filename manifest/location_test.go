package manifest

import "testing"

func TestSamePlace(t *testing.T) {
	for _, c := range []struct {
		a, b string
		want bool
	}{
		{"https://d1.cloudfront.net", "https://d1.cloudfront.net", true},
		{"https://d1.cloudfront.net/", "http://D1.cloudfront.net:80", true},
		{"https://d1.cloudfront.net:443/polka", "https://user:secret@d1.cloudfront.net/polka/", true},
		{"https://d1.cloudfront.net:8443", "https://d1.cloudfront.net", false},
		{"https://d1.cloudfront.net:80", "https://d1.cloudfront.net", false},
		{"https://d1.cloudfront.net/a", "https://d1.cloudfront.net/b", false},
		{"https://d1.cloudfront.net", "https://d2.cloudfront.net", false},
		{"s3://bucket/polka?region=eu-west-1&requester-pays=true", "s3://bucket/polka/", true},
		{"s3://bucket/polka", "s3://bucket", false},
		{"s3://bucket?endpoint=https://store.example.org", "s3://bucket?endpoint=https%3A%2F%2Fstore.example.org%3A443", true},
		{"s3://bucket?endpoint=https://store.example.org", "s3://bucket", false},
		{"s3://bucket", "https://bucket", false},
		{"/srv/qsync", "/srv/qsync", false},
		{"file:///srv/qsync", "file:///srv/qsync", false},
		{"https://%zz", "https://%zz", false},
	} {
		if SamePlace(c.a, c.b) != c.want || SamePlace(c.b, c.a) != c.want {
			t.Errorf("%s and %s are one place: want %t", c.a, c.b, c.want)
		}
	}
}

func TestUseOf(t *testing.T) {
	m := &Manifest{Locations: []Location{{URL: "https://d1.cloudfront.net/polka", Use: UseNever}, {URL: "s3://bucket/polka", Use: UseLast}}}
	for u, want := range map[string]Use{
		"https://d1.cloudfront.net/polka/": UseNever, "s3://bucket/polka?region=eu-west-1": UseLast,
		"https://d1.cloudfront.net": "", "ipfs": "", "": "",
	} {
		if got := m.UseOf(u); got != want {
			t.Errorf("use of %q is %q, want %q", u, got, want)
		}
	}
}

func TestBillsReaders(t *testing.T) {
	for u, want := range map[string]bool{
		"s3://b?region=us-east-1&requester-pays=true": true, "s3://b?requester-pays=false": false, "s3://b": false,
		"https://b?requester-pays=true": false, "%": false,
	} {
		if BillsReaders(u) != want {
			t.Errorf("%s: want %t", u, want)
		}
	}
}
