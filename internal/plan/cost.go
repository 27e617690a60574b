package plan

import (
	"fmt"
	"math"
	"strconv"

	"github.com/gitopsd/gitopsd/internal/tenant"
)

// Capacity is what a tenant's instances take together: what there is to pay
// for, without a price. All instances at their fewest, and at their most.
type Capacity struct {
	MinCPU    int `json:"minCPU"` // units; 1024 are one core
	MaxCPU    int `json:"maxCPU"`
	MinMemory int `json:"minMemory"` // MiB
	MaxMemory int `json:"maxMemory"`
}

// CapacityOf multiplies an instance's size by the number of instances.
func CapacityOf(c tenant.Compute) Capacity {
	return Capacity{
		MinCPU: c.CPU * c.Scale.Min, MaxCPU: c.CPU * c.Scale.Max,
		MinMemory: c.Memory * c.Scale.Min, MaxMemory: c.Memory * c.Scale.Max,
	}
}

func (c Capacity) String() string {
	return span(c.MinCPU, c.MaxCPU) + " CPU units and " + span(c.MinMemory, c.MaxMemory) + " MiB"
}

// sizes says what a new tenant's instances take.
func sizes(t *tenant.Tenant) Consequence {
	c := t.Compute
	instances := span(c.Scale.Min, c.Scale.Max) + verb(c.Scale.Max, " instance", " instances")
	return Consequence{
		Field: "compute", To: CapacityOf(c).String(), Effect: Cost,
		Text: fmt.Sprintf("%s of %d CPU units and %d MiB: %s in all.", instances, c.CPU, c.Memory, CapacityOf(c)),
	}
}

// resized says how the capacity to pay for changes.
func resized(d difference) []Consequence {
	from, to := CapacityOf(d.from.Compute), CapacityOf(d.to.Compute)
	if from == to {
		return nil
	}
	cpu := factor(from.MinCPU, to.MinCPU, from.MaxCPU, to.MaxCPU)
	memory := factor(from.MinMemory, to.MinMemory, from.MaxMemory, to.MaxMemory)
	return []Consequence{{
		Field: "compute", From: from.String(), To: to.String(), Effect: Cost,
		Text: fmt.Sprintf("All instances together: %s → %s. A month takes %s CPU and %s memory.", from, to, cpu, memory),
	}}
}

// factor writes how many times as much it is, at the fewest and at the most
// instances: "2 times the", "1 to 4 times the" or "the same".
func factor(fromMin, toMin, fromMax, toMax int) string {
	low, high := quotient(fromMin, toMin), quotient(fromMax, toMax)
	if low > high {
		low, high = high, low
	}
	switch {
	case low == 1 && high == 1:
		return "the same"
	case low == high:
		return decimal(low) + " times the"
	}
	return decimal(low) + " to " + decimal(high) + " times the"
}

// quotient is to/from, to two decimals but never 0.
func quotient(from, to int) float64 {
	return max(math.Round(float64(to)/float64(max(from, 1))*100)/100, 0.01)
}

func decimal(f float64) string { return strconv.FormatFloat(f, 'f', -1, 64) }
