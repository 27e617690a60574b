package aws

import (
	"context"
	"strings"

	awssdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecs"
)

// hostLength is how much of its container's ID a process is told as its host's name.
const hostLength = 12

// DeadTask proves the death of processes in containers of an ECS cluster's tasks of
// these families, which are all that run Pulumi: such a host is a container's ID, and
// ECS says which containers there are. Of a host that can be no container's nothing is
// proven.
func DeadTask(c awssdk.Config, cluster string, families ...string) Dead {
	api := ecs.NewFromConfig(c)
	return func(ctx context.Context, o LockOwner) (bool, error) {
		if len(o.Host) != hostLength || strings.Trim(o.Host, "0123456789abcdef") != "" {
			return false, nil
		}
		for _, family := range families {
			if alive, err := mayRun(ctx, api, cluster, family, o.Host); alive || err != nil {
				return false, err
			}
		}
		return true, nil
	}
}

// mayRun reports whether a container with the host's name is one of the family's, or
// may become one.
func mayRun(ctx context.Context, api *ecs.Client, cluster, family, host string) (bool, error) {
	pages := ecs.NewListTasksPaginator(api, &ecs.ListTasksInput{Cluster: awssdk.String(cluster), Family: awssdk.String(family)})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return false, failure("list the tasks of "+family, err)
		}
		if len(page.TaskArns) == 0 {
			continue
		}
		tasks, err := api.DescribeTasks(ctx, &ecs.DescribeTasksInput{Cluster: awssdk.String(cluster), Tasks: page.TaskArns})
		if err != nil {
			return false, failure("look at the tasks of "+family, err)
		}
		for _, t := range tasks.Tasks {
			for _, container := range t.Containers {
				id := awssdk.ToString(container.RuntimeId)
				if id == "" || strings.HasPrefix(id, host) { // one that is about to start may be it
					return true, nil
				}
			}
		}
	}
	return false, nil
}
