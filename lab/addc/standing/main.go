// Command standing keeps one domain for several test binaries, or for a person to
// try things on. It starts it in the folder given, prints the folder when the domain
// answers, and ends with its standard input or a signal, and the domain with it.
//
//	go run ./lab/addc/standing FOLDER
//	CORDON_TEST_DOMAIN=FOLDER go test ./internal/directory
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/seed-f47efad2/cordon/lab/addc"
)

// People are enough for all packages that take some.
const people = 680

func main() {
	if err := keep(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		if errors.Is(err, addc.ErrAbsent) {
			os.Exit(3) // tests say so themselves, each that is skipped
		}
		os.Exit(1)
	}
}

func keep() error {
	if len(os.Args) != 2 {
		return errors.New("usage: standing FOLDER")
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin) // its end is all that is waited for
		stop()
	}()
	d, err := addc.New(ctx, addc.Options{DCs: 2, People: people, Dir: os.Args[1]})
	if err != nil {
		return err
	}
	fmt.Println(d.Dir)
	<-ctx.Done()
	return d.Close()
}
