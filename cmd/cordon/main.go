// Command cordon closes the distance between "this identity is at risk" and
// "this identity is safe again, and we can prove it".
package main

import (
	"os"

	"github.com/seed-f47efad2/cordon/internal/cli"
)

func main() { os.Exit(cli.Run()) }
