package formula_test

import (
	"fmt"

	"github.com/kintoun/kintoun/volume/formula"
)

func Example() {
	vars := formula.Variables{"volume": {"size": 10}, "capabilities": {"free_capacity_gb": 35.5}}
	f, err := formula.Parse("volume.size < 500 and capabilities.free_capacity_gb > 20", vars.Has)
	if err != nil {
		fmt.Println(err)
		return
	}
	ok, err := f.Holds(vars)
	fmt.Println(ok, err)
	_, err = formula.Parse("volume.size <", vars.Has)
	fmt.Println(err)
	// Output:
	// true <nil>
	// "volume.size <": not a formula: at character 14: something is missing at the end
}
