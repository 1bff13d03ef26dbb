import numpy as np

CENTRES, SCALES, WEIGHTS, BIASES = np.zeros(22), np.ones(22), np.zeros((4, 22)), np.zeros(4)
