package httpapi

import "testing"

func TestBuild(t *testing.T) {
	s := &server{}
	_ = s
	h, err := New(Options{})
	_ = h
	t.Log(err)
}
