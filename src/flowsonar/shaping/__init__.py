"""Labels that move packets: classes, policy, the firewall's marks and the queues; each renders to text first."""
