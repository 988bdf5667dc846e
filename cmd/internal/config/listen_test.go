package config

import (
	"errors"
	"testing"
)

func TestListen(t *testing.T) {
	for address, exposed := range map[string]bool{
		"": false, "127.0.0.1:9631": false, "localhost:9631": false, "[::1]:0": false, "10.1.2.3:9631": false,
		"[fd00::1]:9631": false, "192.168.0.7:9631": false,
		":9631": true, "0.0.0.0:9631": true, "[::]:9631": true, "203.0.113.7:9631": true, "[2001:db8::1]:9631": true,
	} {
		a, err := LoadAgent(write(t, agentYAML+"listen: \""+address+"\"\n"))
		if err != nil || string(a.Listen) != address || a.Listen.Exposed() != exposed {
			t.Errorf("%q: %v, want it exposed: %v", address, err, exposed)
		}
	}
	for address, want := range map[string]string{
		"9631":                       `"9631": want an address and a port`,
		"127.0.0.1":                  `"127.0.0.1": want an address and a port`,
		"127.0.0.1:http":             `port "http": want 0 to 65535`,
		"127.0.0.1:65536":            `port "65536": want 0 to 65535`,
		"127.0.0.1:+80":              `port "+80": want 0 to 65535`,
		"snapshots.example.org:9631": `"snapshots.example.org": want the address of this machine, as a number`,
		"http://127.0.0.1:9631":      `"http://127.0.0.1:9631": want an address and a port`,
		"[fe80::1]:9631/":            `port "9631/": want 0 to 65535`,
	} {
		_, err := LoadAgent(write(t, agentYAML+"listen: \""+address+"\"\n"))
		if e := (*Error)(nil); !errors.As(err, &e) || e.Key != "listen" || e.What != want || e.Help == "" {
			t.Errorf("%q: %v, want %s", address, err, want)
		}
	}
}
